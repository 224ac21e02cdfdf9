/// All parts of a store at one moment; every record is in exactly one of them.
struct StoreView: Sendable {
  var memtables: [Memtable] = []
  var blocks: [BlockEntry] = []
}

/// A memtable on its way to becoming a block.
struct SealJob: Sendable {
  var table: Memtable
  /// The segment of the write-ahead log that is deleted then.
  var segment: String
  /// What was acknowledged and counted up to its end.
  var workers: [String: UInt64]
  var totals: Totals
  /// Of a replayed segment: where its last good frame ends, and whether nothing before that was damaged.
  var length: Int64 = 0
  var isWhole = true
}

/// What only the writer's turns touch.
struct StoreWriter {
  var log: WriteAheadLog
  var table: Memtable
  var workers: [String: UInt64]
  /// What was refused and skipped, ever.
  var totals: Totals
  var scanner = LineScanner()
  /// What the records of the memtable acknowledged.
  var fresh: [String: UInt64] = [:]
  /// Set when a write failed in a way that leaves the log's end unknown: nothing more is taken until the next start.
  var fault: String?
}
