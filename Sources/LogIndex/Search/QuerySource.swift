/// One part of the store that a query reads: a memtable or a block.
struct QuerySource: Sendable {
  enum Body: Sendable {
    case memtable(Memtable)
    case block(BlockEntry)
  }

  let body: Body
  let oldest: Int64
  let newest: Int64
  /// Bytes of a record as it was sent; at least 1.
  let averageBytes: Int64

  init(_ table: Memtable) {
    let extent = table.readable
    body = .memtable(table)
    (oldest, newest) = (extent.oldest, extent.newest)
    averageBytes = max(1, Int64(extent.bytes) / Int64(max(1, extent.rows)))
  }

  init(_ entry: BlockEntry) {
    body = .block(entry)
    (oldest, newest) = (entry.oldest, entry.newest)
    averageBytes = max(1, entry.rawBytes / Int64(max(1, entry.rows)))
  }

  /// The parts that may hold matches, the newest first.
  static func planned(_ view: StoreView, _ query: LogQuery, scope: LogScope) -> [QuerySource] {
    let pruning = Pruning(query, scope: scope)
    if pruning.texts.values.contains(where: \.isEmpty) || pruning.levels == 0 { return [] }
    let end = min(pruning.range.until ?? .max, query.after.map { $0.time == .max ? .max : $0.time + 1 } ?? .max)
    var sources = view.memtables.filter { $0.readable.rows > 0 }.map { QuerySource($0) }
    for entry in view.blocks where entry.levels & (pruning.levels ?? .max) != 0 { sources.append(QuerySource(entry)) }
    return sources.filter { $0.newest >= pruning.range.since ?? .min && ($0.oldest < end || end == .max) }.sorted {
      ($0.newest, $0.oldest) > ($1.newest, $1.oldest)
    }
  }
}

/// The matches of one part, newest first, and how far they were given out.
struct OpenSource: Sendable {
  enum Body: Sendable {
    case memtable(Memtable)
    case block(Block, BlockEntry)
  }

  let body: Body
  let rows: [(LogPosition, Int)]
  var next = 0

  var head: LogPosition? { next < rows.count ? rows[next].0 : nil }

  /// The bytes of a record of this part.
  func record(_ row: Int) throws(BlockFault) -> [UInt8] {
    switch body {
    case .memtable(let table): table.bytes(row)
    case .block(let block, _): try block.record(row)
    }
  }
}
