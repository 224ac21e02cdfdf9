/// How many records of each namespace, function and level a block has in each minute: what wide counts are answered
/// from, without opening the block.
struct Rollup: Sendable, Equatable {
  /// The fields records are counted by.
  static let fields: [LogField] = [.reserved(.namespace), .reserved(.function), .reserved(.level)]
  static let minute: Int64 = 60_000_000_000
  /// A block that falls into more cells has no rollup.
  static let cellsMaximum = 32_768
  private static let version: UInt8 = 1

  struct Key: Sendable, Hashable {
    /// In the order of `fields`; nil for what is absent, null or empty.
    var texts: [[UInt8]?]
    /// Bytes of its records, as they were sent.
    var bytes: Int64 = 0
  }

  struct Cell: Sendable, Equatable {
    /// Its place among the keys.
    var key: Int
    /// Minutes since 1970.
    var minute: Int64
    var count: Int
  }

  private(set) var keys: [Key] = []
  /// By key, then by minute.
  private(set) var cells: [Cell] = []

  static func minute(of time: Int64) -> Int64 {
    let rest = time % minute
    return (rest >= 0 ? time - rest : time - rest - minute) / minute
  }

  /// Counts a block's records; nil when they fall into too many cells. `length` is that of a record, by its row.
  init?(_ block: Block, length: (Int) -> Int) throws(BlockFault) {
    let search = try BlockSearch(block)
    let stats = BlockStats(search, LogStats(functions: []))
    let all = RowSet.all(block.rowCount)
    var columns: [BlockStats.Keys] = []
    for field in Self.fields { columns.append(try stats.keys(field, all)) }
    let times = try block.times()
    var numbers: [Int: Int] = [:]
    var lastCell: [Int] = []
    var previous = (code: -1, key: 0)
    for row in times.indices {
      var code = 0
      for column in columns { code = code &* column.texts.count &+ Int(column.numbers[row]) }
      if code != previous.code {
        if let known = numbers[code] {
          previous = (code, known)
        } else {
          previous = (code, keys.count)
          numbers[code] = keys.count
          keys.append(Key(texts: columns.map { $0.texts[Int($0.numbers[row])] }))
          lastCell.append(-1)
        }
      }
      let key = previous.key
      keys[key].bytes += Int64(length(row))
      let minute = Self.minute(of: times[row])
      if lastCell[key] >= 0, cells[lastCell[key]].minute == minute {
        cells[lastCell[key]].count += 1
      } else {
        lastCell[key] = cells.count
        cells.append(Cell(key: key, minute: minute, count: 1))
      }
      if cells.count > Self.cellsMaximum * 2 { return nil }
    }
    settle()
    if cells.count > Self.cellsMaximum { return nil }
  }

  /// Orders the cells and makes one of those of the same minute.
  private mutating func settle() {
    cells.sort { ($0.key, $0.minute) < ($1.key, $1.minute) }
    var settled: [Cell] = []
    settled.reserveCapacity(cells.count)
    for cell in cells {
      if let last = settled.last, last.key == cell.key, last.minute == cell.minute {
        settled[settled.count - 1].count += cell.count
      } else {
        settled.append(cell)
      }
    }
    cells = settled
  }

  /// Bytes it takes in memory, roughly.
  var heldBytes: Int { cells.count * MemoryLayout<Cell>.stride + keys.count * 160 }
}

extension Rollup {
  /// The rollup as the catalogue keeps it: a version, the CRC of what follows, its length inflated, and that deflated.
  func encoded() -> [UInt8] {
    var body = ByteWriter()
    body.varint(keys.count)
    for key in keys {
      for text in key.texts {
        body.varint(text.map { $0.count + 1 } ?? 0)
        body.raw(text ?? [])
      }
      body.varint(UInt64(clamping: key.bytes))
    }
    body.varint(cells.count)
    var previous = Cell(key: 0, minute: 0, count: 0)
    for cell in cells {
      body.varint(cell.key - previous.key)
      body.signed(cell.minute - previous.minute)
      body.varint(cell.count)
      previous = cell
    }
    var result = ByteWriter()
    result.byte(Self.version)
    result.u32(Deflate.crc(body.bytes[...]))
    result.varint(body.count)
    result.raw(Deflate.compress(body.bytes, level: 4) ?? body.bytes)
    return result.bytes
  }

  /// Reads what `encoded` wrote; throws at anything else.
  init(encoded bytes: [UInt8]) throws(BlockFault) {
    var head = ByteReader(bytes)
    guard try head.byte() == Self.version else { throw BlockFault("its counts are of another version") }
    let crc = try head.u32()
    let size = try head.int(1 << 26)
    let rest = try head.raw(head.left)
    let body: [UInt8]
    if rest.count == size {
      body = Array(rest)
    } else {
      let inflated: Result<[UInt8], BlockFault> = rest.withUnsafeBytes { raw in
        do throws(BlockFault) { return .success(try Deflate.inflate(raw, size: size)) } catch { return .failure(error) }
      }
      body = try inflated.get()
    }
    guard Deflate.crc(body[...]) == crc else { throw BlockFault("its counts are damaged") }
    var reader = ByteReader(body)
    for _ in 0..<(try reader.int(body.count)) {
      var key = Key(texts: [])
      for _ in Self.fields {
        let length = try reader.int(body.count + 1)
        key.texts.append(length == 0 ? nil : Array(try reader.raw(length - 1)))
      }
      key.bytes = Int64(clamping: try reader.varint())
      keys.append(key)
    }
    var previous = Cell(key: 0, minute: 0, count: 0)
    for _ in 0..<(try reader.int(Self.cellsMaximum)) {
      let key = previous.key + (try reader.int(keys.count))
      guard key < keys.count else { throw BlockFault("its counts point nowhere") }
      previous = Cell(
        key: key, minute: previous.minute &+ (try reader.signed()), count: try reader.int(BlockHeader.rowsMaximum))
      cells.append(previous)
    }
  }
}
