internal import GRDB

/// One query under way: pulls pages until its limit, its bounds or its end is reached.
actor QueryRun {
  private static let firstRows = 256
  private static let rowsMaximum = 4_096

  private let pool: DatabasePool
  private let scan: RecordScan
  private let bounds: LogQueryBounds
  private let started = ContinuousClock.now
  private var position: LogPosition
  private var remaining: Int
  private var rows = QueryRun.firstRows
  private var scanned = 0
  private var isDone = false

  init(pool: DatabasePool, scan: RecordScan, limit: Int?, bounds: LogQueryBounds) {
    self.pool = pool
    self.scan = scan
    self.bounds = bounds
    position = scan.start
    remaining = limit ?? .max
    isDone = remaining <= 0
  }

  struct Step: Sendable {
    var matches: [(LogPosition, IndexedRecord)]
    var scanned: Int
    var truncated: LogTruncation?
  }

  /// The next records that match, or nil at the end; throws `CancellationError` when its task was cancelled.
  func next() async throws -> Step? {
    var step = Step(matches: [], scanned: 0, truncated: nil)
    while !isDone, step.matches.isEmpty {
      try Task.checkCancellation()
      let (scan, before, want) = (scan, position, remaining)
      let count = min(rows, bounds.recordsMaximum - scanned)
      let page = try await pool.read { db in try scan.page(db, before: before, rows: count, matches: want) }
      step.matches = page.matches
      step.scanned += page.scanned
      scanned += page.scanned
      remaining -= page.matches.count
      position = page.last ?? position
      rows = min(rows * 2, Self.rowsMaximum)
      isDone = page.isLast || remaining == 0
      if !isDone, let reason = bound() {
        step.truncated = reason
        isDone = true
      }
    }
    return step.matches.isEmpty && step.truncated == nil ? nil : step
  }

  private func bound() -> LogTruncation? {
    if scanned >= bounds.recordsMaximum { return .records }
    return ContinuousClock.now - started >= bounds.timeMaximum ? .time : nil
  }
}
