internal import ClusterAPI
internal import LogIndex

/// The lines of one answer, a batch read when the one before was taken.
actor LogLines {
  private let batches: AsyncThrowingStream<LogBatch, any Error>
  private var permit: QueryPermit?
  private let counters: LogCounters
  private var isCut = false
  private var reader: AsyncThrowingStream<LogBatch, any Error>.Iterator
  private var ready: [[UInt8]] = []
  private var next = 0

  init(_ batches: AsyncThrowingStream<LogBatch, any Error>, permit: QueryPermit, counters: LogCounters) {
    self.batches = batches
    self.counters = counters
    self.permit = permit
    reader = batches.makeAsyncIterator()
  }

  /// The next line, nil at the end. A cut answer ends with a line `{"truncated":"reason"}`.
  func line() async throws -> [UInt8]? {
    while next == ready.count {
      var reader = reader
      let batch = try await reader.next(isolation: self)
      self.reader = reader
      guard let batch else {
        if permit != nil { counters.queried(cut: isCut) }
        permit = nil
        return nil
      }
      ready = batch.entries.map(\.bytes)
      if let reason = batch.truncated {
        isCut = true
        ready.append(Self.cut(reason))
      }
      next = 0
    }
    defer { next += 1 }
    return ready[next]
  }

  static func cut(_ reason: LogTruncation) -> [UInt8] { Array("{\"truncated\":\"\(reason.rawValue)\"}".utf8) }
}
