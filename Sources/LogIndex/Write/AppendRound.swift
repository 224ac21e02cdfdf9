/// What one turn of the writer takes: the records of some appends, as one frame of the write-ahead log.
struct AppendRound {
  /// A record in the frame.
  struct Row {
    var start: Int
    var length: Int
    var time: Int64
    var level: UInt8
    var hasEscape: Bool
  }

  private(set) var payload: [UInt8] = []
  private(set) var rows: [Row] = []
  private(set) var rowBytes = 0
  /// What was acknowledged before, and is with this round.
  private(set) var workers: [String: UInt64]
  /// The workers this round changed.
  private(set) var changed: Set<String> = []
  private(set) var totals = Totals()
  /// What each append is answered, in their order.
  private(set) var acked: [UInt64] = []
  private var scanner: LineScanner

  init(workers: [String: UInt64], scanner: LineScanner) {
    self.workers = workers
    self.scanner = scanner
  }

  /// Takes appends in the order of their sequences, so that two of one worker that overtook each other on their way
  /// here lose nothing.
  mutating func take(_ appends: [PendingAppend]) {
    acked = Array(repeating: 0, count: appends.count)
    payload.reserveCapacity(appends.reduce(64) { $0 + $1.bytes + $1.lines.count * 3 + $1.worker.utf8.count + 32 })
    for index in Self.order(appends) { acked[index] = take(appends[index]) }
  }

  static func order(_ appends: [PendingAppend]) -> [Int] {
    appends.indices.sorted { (appends[$0].firstSequence, $0) < (appends[$1].firstSequence, $1) }
  }

  private mutating func take(_ append: PendingAppend) -> UInt64 {
    let before = workers[append.worker]
    guard append.lines.count > 0, append.lastSequence > before ?? 0 || before == nil else { return before ?? 0 }
    var first = 0
    var skipped: UInt64 = 0
    if let before {
      if append.firstSequence <= before { first = Int(before - append.firstSequence) + 1 }
      if append.firstSequence > before + 1 { skipped = append.firstSequence - before - 1 }
    }
    var good: [Row?] = []
    good.reserveCapacity(append.lines.count - first)
    let lines = append.lines.lines[first...]
    append.lines.bytes.withUnsafeBufferPointer { bytes in
      for line in lines { good.append(scan(bytes, line)) }
    }
    let rejected = good.count { $0 == nil }
    var head = ByteWriter()
    head.blob(Array(append.worker.utf8))
    head.varint(append.lastSequence)
    head.varint(skipped)
    head.varint(rejected)
    head.varint(good.count - rejected)
    payload += head.bytes
    for (line, row) in zip(lines, good) {
      guard var row else { continue }
      head.removeAll()
      head.varint(row.length)
      payload += head.bytes
      row.start = payload.count
      append.lines.bytes.withUnsafeBufferPointer {
        payload.append(contentsOf: UnsafeBufferPointer(rebasing: $0[line.start..<(line.start + row.length)]))
      }
      rows.append(row)
      rowBytes += row.length
      totals.recordBytes += Int64(row.length)
    }
    totals.skipped += Int64(skipped)
    totals.rejected += Int64(rejected)
    totals.records += Int64(good.count - rejected)
    workers[append.worker] = append.lastSequence
    changed.insert(append.worker)
    return append.lastSequence
  }

  /// A line that is a record, its break cut off; nil for another.
  private mutating func scan(_ bytes: UnsafeBufferPointer<UInt8>, _ line: RecordLines.Line) -> Row? {
    guard let base = bytes.baseAddress.map({ $0 + line.start }) else { return nil }
    var end = line.count
    while end > 0, base[end - 1] == 0x0A || base[end - 1] == 0x0D { end -= 1 }
    guard scanner.scan(base, end) else { return nil }
    return Row(
      start: 0, length: end, time: scanner.time, level: scanner.level?.rawValue ?? 0, hasEscape: scanner.hasEscape)
  }

  /// Reads a frame back: calls `body` with each record, and answers what was acknowledged and counted with it.
  static func replay(
    _ frame: ArraySlice<UInt8>, _ body: (ArraySlice<UInt8>) -> Void
  ) throws(BlockFault) -> (workers: [String: UInt64], totals: Totals) {
    var reader = ByteReader(frame)
    var workers: [String: UInt64] = [:]
    var totals = Totals()
    while !reader.isAtEnd {
      let worker = String(decoding: try reader.blob(), as: UTF8.self)
      workers[worker] = try reader.varint()
      totals.skipped += Int64(truncatingIfNeeded: try reader.varint())
      totals.rejected += Int64(truncatingIfNeeded: try reader.varint())
      for _ in 0..<(try reader.int(frame.count)) {
        let line = try reader.blob()
        totals.records += 1
        totals.recordBytes += Int64(line.count)
        body(line)
      }
    }
    return (workers, totals)
  }
}

/// The running totals of a store.
struct Totals: Sendable, Equatable {
  var records: Int64 = 0
  var recordBytes: Int64 = 0
  var rejected: Int64 = 0
  var skipped: Int64 = 0

  static func += (left: inout Totals, right: Totals) {
    left.records += right.records
    left.recordBytes += right.recordBytes
    left.rejected += right.rejected
    left.skipped += right.skipped
  }
}
