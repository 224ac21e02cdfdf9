internal import Synchronization

/// Records that are in the write-ahead log and not yet in a block: their bytes one after another, readable while
/// the one writer appends.
// SAFETY: the memory is allocated once and never moves; the writer changes only what lies beyond the published count,
// readers read only what lies before it, and the mutex orders the two.
final class Memtable: @unchecked Sendable {
  struct Row {
    var start: UInt32
    var length: UInt32
    var time: Int64
    var level: UInt8
    var hasEscape: Bool
  }

  struct Extent: Sendable {
    var rows = 0
    var bytes = 0
    var oldest = Int64.max
    var newest = Int64.min
    var levels: UInt8 = 0
  }

  /// The number of its first record.
  let firstID: Int64
  let rowsMaximum: Int
  let bytesMaximum: Int
  private let arena: UnsafeMutablePointer<UInt8>
  private let rows: UnsafeMutablePointer<Row>
  private let published = Mutex(Extent())
  /// What the writer has appended; only the writer looks here.
  private var extent = Extent()

  init(firstID: Int64, rows: Int, bytes: Int) {
    self.firstID = firstID
    rowsMaximum = rows
    bytesMaximum = bytes
    arena = .allocate(capacity: bytes + 16)
    self.rows = .allocate(capacity: rows)
  }

  deinit {
    arena.deallocate()
    rows.deallocate()
  }

  /// What can be read.
  var readable: Extent { published.withLock { $0 } }

  /// The writer's own view, with what is not published yet.
  var written: Extent { extent }

  func hasRoom(rows: Int, bytes: Int) -> Bool {
    extent.rows + rows <= rowsMaximum && extent.bytes + bytes <= bytesMaximum
  }

  /// Appends a record; the caller made sure of the room.
  func append(_ line: UnsafeBufferPointer<UInt8>, time: Int64, level: UInt8, hasEscape: Bool) {
    guard let base = line.baseAddress, hasRoom(rows: 1, bytes: line.count) else { return }
    (arena + extent.bytes).update(from: base, count: line.count)
    (rows + extent.rows).initialize(
      to: Row(
        start: UInt32(extent.bytes), length: UInt32(line.count), time: time, level: level, hasEscape: hasEscape))
    extent.rows += 1
    extent.bytes += line.count
    extent.oldest = min(extent.oldest, time)
    extent.newest = max(extent.newest, time)
    extent.levels |= 1 << level
  }

  /// Appends a line if it is a record; answers whether it is. The caller made sure of the room.
  func take(_ line: UnsafeBufferPointer<UInt8>, _ scanner: inout LineScanner) -> Bool {
    guard let base = line.baseAddress, scanner.scan(base, line.count) else { return false }
    append(line, time: scanner.time, level: scanner.level?.rawValue ?? 0, hasEscape: scanner.hasEscape)
    return true
  }

  /// Lets readers see what was appended.
  func publish() {
    let extent = extent
    published.withLock { $0 = extent }
  }

  /// One record's place, below the readable count.
  @inline(__always) func row(_ index: Int) -> Row { rows[index] }

  /// The bytes all rows lie in.
  var base: UnsafePointer<UInt8> { UnsafePointer(arena) }

  func bytes(_ index: Int) -> [UInt8] {
    let row = rows[index]
    return Array(UnsafeBufferPointer(start: arena + Int(row.start), count: Int(row.length)))
  }

  func id(_ index: Int) -> Int64 { firstID + Int64(index) }
}
