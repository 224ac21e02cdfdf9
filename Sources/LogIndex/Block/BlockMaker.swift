internal import Glibc

/// Makes the file of a memtable's block and reads it back before anything relies on it.
struct BlockMaker {
  /// The file of a memtable's records; with `true`, of whole lines that are not taken apart.
  typealias Write = (_ keepsLines: Bool) -> [UInt8]

  /// Writes a memtable's block; answers what the catalogue is to know of it.
  static func store(
    _ table: Memtable, workers: [String: UInt64], in folder: StoreFile, _ options: LogIndexOptions
  ) throws -> (entry: BlockEntry, rollup: Rollup?) {
    let (bytes, block) = try file(table, workers: workers, options)
    let name = BlockEntry.name(firstID: table.firstID, rows: table.readable.rows)
    try folder.write(bytes, to: name)
    let arrivals = try block.arrivals()
    let rollup = try Rollup(block) { Int(table.row(Int(arrivals[$0])).length) }
    return (BlockEntry(name: name, fileBytes: bytes.count, block.header), rollup)
  }

  /// A file that holds every record of the memtable. When the columns do not give them back the lines are kept whole,
  /// and that is reported: it costs space, and no record. Throws when that fails too.
  static func file(
    _ table: Memtable, workers: [String: UInt64], _ options: LogIndexOptions
  ) throws(BlockFault) -> (bytes: [UInt8], block: Block) {
    try file(table, notice: options.notice) { keepsLines in
      var writer = BlockWriter(table, level: options.compression, keepsLines: keepsLines)
      return writer.file(workers: workers)
    }
  }

  static func file(
    _ table: Memtable, notice: (String) -> Void, _ write: Write
  ) throws(BlockFault) -> (bytes: [UInt8], block: Block) {
    let bytes = write(false)
    do throws(BlockFault) { return (bytes, try checked(bytes, table)) } catch {
      notice(
        "a block of \(table.readable.rows) log records cannot be read back because \(error); its lines are kept "
          + "whole instead, and none is lost. This is a fault of the program: please report it")
    }
    let plain = write(true)
    return (plain, try checked(plain, table))
  }

  private static func checked(_ bytes: [UInt8], _ table: Memtable) throws(BlockFault) -> Block {
    let block = try Block(bytes: bytes)
    try block.check(holds: table)
    return block
  }
}

extension Block {
  /// Throws unless it holds exactly the memtable's records: each number once, each byte, each time.
  func check(holds table: Memtable) throws(BlockFault) {
    guard rowCount == table.readable.rows, header.firstID == table.firstID else {
      throw BlockFault("it has \(rowCount) records instead of \(table.readable.rows)")
    }
    let (rows, times, arrivals) = (try rows(), try times(), try arrivals())
    var readers: [ListReader] = []
    for column in columnCounts.indices { readers.append(try self.column(column)) }
    // Columns lie in the order of the records, so each is read from its start to its end.
    var next = Array(repeating: 0, count: columnCounts.count)
    var seen = RowSet(rows: rowCount)
    var line: [UInt8] = []
    let plan = LinePlan(shapes)
    for row in 0..<rowCount {
      line.removeAll(keepingCapacity: true)
      for index in plan.pieces(of: Int(rows.shapes[row])) {
        let piece = plan.pieces[index]
        plan.append(piece, to: &line)
        if piece.kind == LinePlan.end { break }
        if SlotKind.isTime(piece.kind) {
          RecordTime.append(times[row], digits: Int(piece.kind - SlotKind.time), to: &line)
        } else {
          try readers[piece.column].append(next[piece.column], row: row, of: self, to: &line)
          next[piece.column] += 1
        }
      }
      let arrival = Int(arrivals[row])
      let wanted = table.row(arrival)
      let isSame =
        wanted.time == times[row] && Int(wanted.length) == line.count
        && memcmp(table.base + Int(wanted.start), line, line.count) == 0
      guard isSame, !seen.contains(arrival) else { throw BlockFault("record \(arrival) is another than it was") }
      seen.insert(arrival)
    }
  }
}

/// The shapes of a block laid out flat, for one who puts all of its lines together.
private struct LinePlan {
  /// What stands before a value, and the value; the last of a shape has none.
  struct Piece {
    var start: Int
    var end: Int
    var column: Int
    var kind: UInt8
  }

  /// The kind of a piece without a value.
  static let end: UInt8 = 0xFF

  private(set) var pieces: [Piece] = []
  private var bytes: [UInt8] = []
  private var starts: [Int] = [0]

  init(_ shapes: [Shape]) {
    for shape in shapes {
      for (number, gap) in shape.gaps.enumerated() {
        let slot = number < shape.slots.count ? shape.slots[number] : nil
        let start = bytes.count
        bytes += gap
        pieces.append(
          Piece(start: start, end: bytes.count, column: slot?.column ?? 0, kind: slot?.kind ?? Self.end))
      }
      starts.append(pieces.count)
    }
  }

  @inline(__always) func pieces(of shape: Int) -> Range<Int> { starts[shape]..<starts[shape + 1] }

  @inline(__always) func append(_ piece: Piece, to line: inout [UInt8]) {
    bytes.withUnsafeBufferPointer {
      line.append(contentsOf: UnsafeBufferPointer(rebasing: $0[piece.start..<piece.end]))
    }
  }
}
