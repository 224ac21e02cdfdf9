/// The records of a pax extended header that matter here: `LENGTH KEY=VALUE\n`.
struct PaxRecords: Equatable {
  /// Longest header that is read.
  static let bytesMax = 64 << 10

  var path: [UInt8]?
  var linkPath: [UInt8]?
  var size: Int64?
  /// Owner, group and time of the last change, in seconds; a layer keeps them, a package does not.
  var user: Int64?
  var group: Int64?
  var modified: Int64?

  init() {}

  /// Whether they say which entry this is, or how long.
  var saysPlace: Bool { path != nil || linkPath != nil || size != nil }

  init(_ data: [UInt8], offset: Int64) throws(ArchiveError) {
    func damaged(_ reason: String) -> ArchiveError { .damagedArchive("a pax header \(reason)", offset: offset) }
    var seen: Set<[UInt8]> = []
    var rest = data[...]
    while !rest.isEmpty {
      let start = rest.startIndex
      guard let space = rest.prefix(9).firstIndex(of: 0x20), let length = Self.decimal(rest[start..<space]) else {
        throw damaged("has a record without a length")
      }
      guard length > space - start + 1, length <= rest.count, rest[start + Int(length) - 1] == 0x0a else {
        throw damaged("has a record whose length is wrong")
      }
      let record = rest[space + 1..<start + Int(length) - 1]
      rest = rest[(start + Int(length))...]
      guard let equals = record.firstIndex(of: UInt8(ascii: "=")) else { throw damaged("has a record without '='") }
      let key = Array(record[..<equals])
      let value = Array(record[(equals + 1)...])
      guard seen.insert(key).inserted else { throw damaged("has a record twice") }
      try take(key: String(decoding: key, as: UTF8.self), value, damaged)
    }
  }

  private mutating func take(
    key: String, _ value: [UInt8], _ damaged: (String) -> ArchiveError
  ) throws(ArchiveError) {
    switch key {
    case "path": path = value
    case "linkpath": linkPath = value
    case "size":
      guard let number = Self.decimal(value[...]) else { throw damaged("has a size that is no number") }
      size = number
    case "uid": user = Self.decimal(value[...])
    case "gid": group = Self.decimal(value[...])
    case "mtime": modified = Self.decimal(value.prefix { $0 != UInt8(ascii: ".") })
    case let other where other.hasPrefix("GNU.sparse"):
      throw .refused(path: path.map(EntryPath.printable) ?? "pax header", .unsupported("a sparse file"))
    default: break  // other times, attributes: nothing that is kept
    }
  }

  private static func decimal(_ digits: ArraySlice<UInt8>) -> Int64? {
    guard (1...15).contains(digits.count), digits.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
    return digits.reduce(0) { $0 * 10 + Int64($1 - 0x30) }
  }

  /// The record for a header that is written.
  static func record(_ key: String, _ value: some Collection<UInt8>) -> [UInt8] {
    let body = Array(" \(key)=".utf8) + value + [0x0a]
    var length = body.count + 1
    while String(length).utf8.count + body.count != length { length = String(length).utf8.count + body.count }
    return Array(String(length).utf8) + body
  }
}
