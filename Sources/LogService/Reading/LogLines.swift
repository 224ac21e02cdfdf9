internal import ClusterAPI
internal import LogIndex

/// The lines of one answer, a batch read when the one before was taken.
actor LogLines {
  private let batches: AsyncThrowingStream<LogBatch, any Error>
  private var permit: QueryPermit?
  private let counters: LogCounters
  private var isCut = false
  private var bytesLeft: Int
  private var reader: AsyncThrowingStream<LogBatch, any Error>.Iterator
  private var ready: [[UInt8]] = []
  private var next = 0

  init(
    _ batches: AsyncThrowingStream<LogBatch, any Error>, permit: QueryPermit, counters: LogCounters, bytesMaximum: Int
  ) {
    bytesLeft = bytesMaximum
    self.batches = batches
    self.counters = counters
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
      guard let batch, bytesLeft > 0 else {
        if permit != nil { counters.queried(cut: isCut) }
        permit = nil
        return nil
      }
      ready.removeAll(keepingCapacity: true)
      for entry in batch.entries where bytesLeft > 0 {
        bytesLeft -= entry.bytes.count
        ready.append(entry.bytes)
      }
      if bytesLeft <= 0, batch.truncated == nil {
        isCut = true
        ready.append(Self.cut("bytes"))
      }
      if let reason = batch.truncated {
        isCut = true
        ready.append(Self.cut(reason.rawValue, since: batch.completeSince))
      }
      next = 0
    }
    defer { next += 1 }
    return ready[next]
  }

  /// The last line of a cut answer: why, and from when on it is complete.
  static func cut(_ reason: String, since: Int64? = nil) -> [UInt8] {
    let since = since.map { ",\"since\":\"\(RecordTime.text($0))\"" } ?? ""
    return Array("{\"truncated\":\"\(reason)\"\(since)}".utf8)
  }
}
