/// What the catalogue knows of a block without opening its file.
struct BlockEntry: Sendable, Equatable {
  /// The file's name in the store's folder.
  var name: String
  var fileBytes: Int64
  var rows: Int
  var rawBytes: Int64
  var oldest: Int64
  var newest: Int64
  var firstID: Int64
  /// Bit n for level n; bit 0 for records without one.
  var levels: UInt8
  /// When retention first saw that its newest record is of the future, nanoseconds since 1970; 0 if it is not.
  var seen: Int64 = 0

  /// When it was new, by our own clock while that of its sender is ahead. A time that is past by now is believed: it is
  /// our clock that was behind when the block was seen to be of the future.
  func age(now: Int64) -> Int64 { newest <= now || seen == 0 ? newest : min(newest, seen) }
}

extension BlockEntry {
  init(name: String, fileBytes: Int, _ header: BlockHeader) {
    self.init(
      name: name, fileBytes: Int64(fileBytes), rows: header.rows, rawBytes: Int64(header.rawBytes),
      oldest: header.oldest, newest: header.newest, firstID: header.firstID, levels: header.levels)
  }

  /// Whether its numbers can be those of a block, and are those of its name; SQLite does not see a flipped bit.
  var isSound: Bool {
    rows >= 0 && rows <= BlockHeader.rowsMaximum && fileBytes >= 0 && (0...(1 << 40)).contains(rawBytes)
      && firstID >= 0 && firstID < .max / 2 && BlockEntry.ids(name: name) == ids
  }

  /// The numbers of its records.
  var ids: Range<Int64> { firstID..<(firstID + Int64(rows)) }

  /// The name of the block of so many records, the first of which has this number.
  static func name(firstID: Int64, rows: Int) -> String {
    let digits = String(firstID)
    return "block-" + String(repeating: "0", count: max(0, 19 - digits.count)) + digits + "-\(rows).logs"
  }

  /// What a name of a block's file says; nil for another file.
  static func ids(name: String) -> Range<Int64>? {
    guard name.hasPrefix("block-"), name.hasSuffix(".logs") else { return nil }
    let parts = name.dropFirst(6).dropLast(5).split(separator: "-")
    guard parts.count == 2, let first = Int64(parts[0]), let rows = Int64(parts[1]), first >= 0, rows >= 0,
      first < .max - rows
    else { return nil }
    return first..<(first + rows)
  }
}
