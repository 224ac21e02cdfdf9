internal import Foundation
internal import Glibc
internal import Synchronization

/// One immutable block in memory: its file's bytes, checked, and its directory; columns are opened when they are asked
/// for and kept open.
final class Block: Sendable {
  let header: BlockHeader
  let bytes: [UInt8]
  let shapes: [Shape]
  let shapeFields: [ShapeFields]
  let filter: BloomFilter
  /// The sequences acknowledged when the block was written, by worker.
  let workers: [String: UInt64]
  let columns: [ListColumn]
  private let heap: TextHeap
  private let timeDeltas: IntColumn
  private let arrivalDeltas: IntColumn
  private let rowShapes: IntColumn
  private let opened = Mutex(Opened())

  private struct Opened {
    var columns: [Int: ListReader] = [:]
    var rows: BlockRows?
    var times: [Int64]?
    var arrivals: [UInt32]?
  }

  /// Reads a block's file; throws `BlockFault` when any of it is damaged, `FileFault` when the system cannot read it.
  convenience init(path: String) throws { try self.init(bytes: try ReadFile.contents(path)) }

  init(bytes: [UInt8]) throws(BlockFault) {
    let header = try BlockHeader(bytes[...], fileBytes: bytes.count)
    for part in header.parts {
      guard Deflate.crc(bytes[part.range]) == part.crc else { throw BlockFault("its contents are damaged") }
    }
    self.header = header
    self.bytes = bytes
    filter = BloomFilter(bytes: bytes[header.filter.range])
    var reader = ByteReader(try Self.directory(bytes, header))
    let size = header.data.count
    var workers: [String: UInt64] = [:]
    for _ in 0..<(try reader.int(1 << 20)) {
      let name = String(decoding: try reader.blob(), as: UTF8.self)
      workers[name] = try reader.varint()
    }
    self.workers = workers
    let columnCount = try reader.int(1 << 17)
    var shapes: [Shape] = []
    for _ in 0..<(try reader.int(1 << 17)) { shapes.append(try Shape(&reader, columns: columnCount)) }
    self.shapes = shapes
    shapeFields = shapes.map { ShapeFields($0) }
    rowShapes = try IntColumn(&reader, size: size, most: header.rows)
    timeDeltas = try IntColumn(&reader, size: size, most: header.rows)
    arrivalDeltas = try IntColumn(&reader, size: size, most: header.rows)
    guard rowShapes.count == header.rows, timeDeltas.count == header.rows, arrivalDeltas.count == header.rows else {
      throw BlockFault("its records are uneven")
    }
    var columns: [ListColumn] = []
    var counts: [Int] = []
    for _ in 0..<columnCount {
      let (column, count) = try ListColumn.read(&reader, size: size, most: header.rows * 8, texts: header.texts)
      columns.append(column)
      counts.append(count)
    }
    self.columns = columns
    columnCounts = counts
    directoryBytes =
      columns.reduce(0) { $0 + $1.heldBytes + MemoryLayout<ListColumn>.stride }
      + shapes.reduce(0) { $0 + $1.slots.count * 150 }
    heap = try TextHeap(&reader, texts: header.texts, part: header.heap.range)
  }

  private static func directory(_ bytes: [UInt8], _ header: BlockHeader) throws(BlockFault) -> ArraySlice<UInt8> {
    let packed = bytes[header.meta.range]
    if packed.count == header.metaBytes { return packed }
    let inflated = try packed.withUnsafeBufferPointer { (raw: UnsafeBufferPointer<UInt8>) throws(BlockFault) in
      try Deflate.inflate(UnsafeRawBufferPointer(raw), size: header.metaBytes)
    }
    return inflated[...]
  }

  let columnCounts: [Int]
  /// Bytes the directory takes in memory, roughly.
  private let directoryBytes: Int

  /// Bytes it takes in memory by now: the file, and what of it is decoded.
  var heldBytes: Int {
    let (columns, rows, times, arrivals) = opened.withLock {
      (Array($0.columns.values), $0.rows?.heldBytes ?? 0, $0.times?.count ?? 0, $0.arrivals?.count ?? 0)
    }
    return bytes.count + directoryBytes + rows + times * 8 + arrivals * 4 + heap.heldBytes
      + columns.reduce(0) { $0 + $1.heldBytes }
  }

  var rowCount: Int { header.rows }

  @inline(__always) func withData<T, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> T) throws(E) -> T {
    try bytes.withUnsafeBufferPointer { (bytes: UnsafeBufferPointer<UInt8>) throws(E) -> T in
      try body(UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: bytes[header.data.range])))
    }
  }

  func values(_ column: IntColumn) throws(BlockFault) -> [UInt64] {
    try withData { (data: UnsafeRawBufferPointer) throws(BlockFault) in try column.values(data) }
  }

  func numbers(_ column: IntColumn, below limit: Int) throws(BlockFault) -> Numbers {
    try withData { (data: UnsafeRawBufferPointer) throws(BlockFault) in try column.numbers(data, below: limit) }
  }

  /// The numbers of texts of which a column says how far back each lies.
  func recent(_ column: IntColumn, below limit: Int) throws(BlockFault) -> Numbers {
    try withData { (data: UnsafeRawBufferPointer) throws(BlockFault) in try column.recent(data, below: limit) }
  }

  func text(_ number: Int) throws(BlockFault) -> ArraySlice<UInt8> { try heap.text(number, bytes) }

  /// Which of so many texts of the heap from one on may hold what is looked for, the first as 0.
  func texts(_ texts: Range<Int>, holding finder: LiteralFinder) throws(BlockFault) -> RowSet {
    try heap.texts(texts, bytes, holding: finder)
  }

  /// The shape of each record and what is needed to find its values.
  func rows() throws(BlockFault) -> BlockRows {
    if let rows = opened.withLock({ $0.rows }) { return rows }
    let rows = try BlockRows(numbers(rowShapes, below: shapes.count), shapes: shapes, counts: columnCounts)
    opened.withLock { $0.rows = rows }
    return rows
  }

  /// The time of each record, in the order of the block.
  func times() throws(BlockFault) -> [Int64] {
    if let times = opened.withLock({ $0.times }) { return times }
    let arrivals = try arrivals()
    let deltas = try values(timeDeltas)
    var byArrival: [Int64] = []
    byArrival.reserveCapacity(deltas.count)
    var time = header.oldest
    for delta in deltas {
      time &+= ZigZag.decode(delta)
      guard time >= header.oldest, time <= header.newest else { throw BlockFault("a record's time is out of range") }
      byArrival.append(time)
    }
    let times = arrivals.map { byArrival[Int($0)] }
    opened.withLock { $0.times = times }
    return times
  }

  /// How many records arrived in this block before each, in the order of the block.
  func arrivals() throws(BlockFault) -> [UInt32] {
    if let arrivals = opened.withLock({ $0.arrivals }) { return arrivals }
    let deltas = try values(arrivalDeltas)
    var arrivals: [UInt32] = []
    arrivals.reserveCapacity(deltas.count)
    var last: Int64 = -1
    for delta in deltas {
      last = last &+ ZigZag.decode(delta) &+ 1
      guard last >= 0, last < Int64(header.rows) else { throw BlockFault("a record's number is out of range") }
      arrivals.append(UInt32(last))
    }
    opened.withLock { $0.arrivals = arrivals }
    return arrivals
  }

  /// A column, opened.
  func column(_ number: Int) throws(BlockFault) -> ListReader {
    if let reader = opened.withLock({ $0.columns[number] }) { return reader }
    let reader = try ListReader(columns[number], self)
    opened.withLock { $0.columns[number] = reader }
    return reader
  }
}

/// The texts of a block that are kept as they are, in compressed chunks.
final class TextHeap: Sendable {
  private struct Chunk: Sendable {
    var first: Int
    var count: Int
    var place: Range<Int>
    var rawBytes: Int
  }

  private final class Open: Sendable {
    let bytes: [UInt8]
    let ends: [Int]
    let start: Int

    init(_ bytes: [UInt8], count: Int) throws(BlockFault) {
      var reader = ByteReader(bytes)
      var ends: [Int] = []
      var end = 0
      for _ in 0..<count {
        end += try reader.int(bytes.count)
        ends.append(end)
      }
      guard end == reader.left else { throw BlockFault("a chunk of texts is uneven") }
      start = bytes.count - end
      self.bytes = bytes
      self.ends = ends
    }
  }

  private static let openMaximum = 12
  private let chunks: [Chunk]
  private let open = Mutex<[(number: Int, chunk: Open)]>([])

  init(_ reader: inout ByteReader, texts: Int, part: Range<Int>) throws(BlockFault) {
    var chunks: [Chunk] = []
    var first = 0
    var start = part.lowerBound
    for _ in 0..<(try reader.int(1 << 24)) {
      let count = try reader.int(texts - first)
      let raw = try reader.int(1 << 30)
      let packed = try reader.int(part.upperBound - start)
      chunks.append(Chunk(first: first, count: count, place: start..<(start + packed), rawBytes: raw))
      first += count
      start += packed
    }
    guard first == texts else { throw BlockFault("its texts are missing") }
    self.chunks = chunks
  }

  var heldBytes: Int {
    open.withLock { $0.reduce(chunks.count * 48) { $0 + $1.chunk.bytes.count + $1.chunk.ends.count * 8 } }
  }

  /// The last chunk that begins with a text or before it.
  private func place(of number: Int) -> Int {
    var low = 0
    var high = chunks.count
    while low + 1 < high {
      let middle = (low + high) / 2
      if chunks[middle].first <= number { low = middle } else { high = middle }
    }
    return low
  }

  /// Which of some texts may hold what is looked for, the first of them as 0.
  func texts(
    _ texts: Range<Int>, _ file: [UInt8], holding finder: LiteralFinder
  ) throws(BlockFault) -> RowSet {
    var set = RowSet(rows: texts.count)
    var number = texts.isEmpty ? chunks.count : place(of: texts.lowerBound)
    while number < chunks.count, chunks[number].first < texts.upperBound {
      let chunk = chunks[number]
      let part = texts.clamped(to: chunk.first..<(chunk.first + chunk.count))
      if !part.isEmpty {
        let open = try opened(number, file)
        let ends = open.ends[(part.lowerBound - chunk.first)..<(part.upperBound - chunk.first)]
        let start = part.lowerBound == chunk.first ? 0 : open.ends[part.lowerBound - chunk.first - 1]
        finder.mark(
          open.bytes, from: open.start, start: start, ends: ends, first: part.lowerBound - texts.lowerBound, in: &set)
      }
      number += 1
    }
    return set
  }

  func text(_ number: Int, _ file: [UInt8]) throws(BlockFault) -> ArraySlice<UInt8> {
    let low = place(of: number)
    guard low < chunks.count, number >= chunks[low].first, number - chunks[low].first < chunks[low].count else {
      throw BlockFault("a text is missing")
    }
    let chunk = try opened(low, file)
    let index = number - chunks[low].first
    let start = chunk.start + (index == 0 ? 0 : chunk.ends[index - 1])
    return chunk.bytes[start..<(chunk.start + chunk.ends[index])]
  }

  private func opened(_ number: Int, _ file: [UInt8]) throws(BlockFault) -> Open {
    if let found = open.withLock({ $0.first { $0.number == number }?.chunk }) { return found }
    let chunk = chunks[number]
    let result: Result<[UInt8], BlockFault> = file.withUnsafeBytes { raw in
      let part = UnsafeRawBufferPointer(rebasing: raw[chunk.place])
      if chunk.rawBytes == part.count { return .success(Array(part)) }
      do throws(BlockFault) { return .success(try Deflate.inflate(part, size: chunk.rawBytes)) } catch {
        return .failure(error)
      }
    }
    let made = try Open(try result.get(), count: chunk.count)
    open.withLock { open in
      if open.count >= Self.openMaximum { open.removeFirst() }
      open.append((number, made))
    }
    return made
  }
}
