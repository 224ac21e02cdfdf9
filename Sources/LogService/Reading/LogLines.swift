internal import ClusterAPI
internal import LogIndex

/// The lines of one answer, a batch read when the one before was taken.
actor LogLines {
  private let batches: AsyncThrowingStream<LogBatch, any Error>
  private var permit: QueryPermit?
  private var reader: AsyncThrowingStream<LogBatch, any Error>.Iterator
  private var ready: [[UInt8]] = []
  private var next = 0

  init(_ batches: AsyncThrowingStream<LogBatch, any Error>, permit: QueryPermit) {
    self.batches = batches
    self.permit = permit
    reader = batches.makeAsyncIterator()
  }

  /// The next line, nil at the end. A cut answer ends with a line
  /// `{"truncated":"reason","since":"time"}`: from that time on it is complete.
  func line() async throws -> [UInt8]? {
    while next == ready.count {
      var reader = reader
      let batch = try await reader.next(isolation: self)
      self.reader = reader
      guard let batch else {
        permit = nil
        return nil
      }
      ready = batch.entries.map(\.bytes)
      if let reason = batch.truncated { ready.append(Self.cut(reason, since: batch.completeSince)) }
      next = 0
    }
    defer { next += 1 }
    return ready[next]
  }

  /// The last line of a cut answer: why, and from when on it is complete.
  static func cut(_ reason: LogTruncation, since: Int64?) -> [UInt8] {
    let since = since.map { ",\"since\":\"\(RecordTime.text($0))\"" } ?? ""
    return Array("{\"truncated\":\"\(reason.rawValue)\"\(since)}".utf8)
  }
}
