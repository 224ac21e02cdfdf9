internal import ClusterAPI
internal import LogIndex

/// The records of one answer as lines in pieces, a batch read when all of the one before was taken.
actor RecordPieces {
  /// Bytes of one piece; a single record may be longer.
  static let pieceBytes = 64 * 1024

  private var permit: QueryPermit?
  private let counters: LogCounters
  private var isCut = false
  private var bytesLeft: Int
  private var reader: AsyncThrowingStream<LogBatch, any Error>.Iterator
  private var entries: ArraySlice<LogEntry> = []
  /// The line that ends a cut answer.
  private var end: [UInt8]?

  init(
    _ batches: AsyncThrowingStream<LogBatch, any Error>, permit: QueryPermit, counters: LogCounters, bytesMaximum: Int
  ) {
    bytesLeft = bytesMaximum
    self.counters = counters
    self.permit = permit
    reader = batches.makeAsyncIterator()
  }

  /// The next lines, nil at the end. A cut answer ends with a line
  /// `{"truncated":"reason","since":"time"}`: from that time on it is complete.
  func next() async throws -> LogLines? {
    while entries.isEmpty, end == nil {
      var reader = reader
      let batch = bytesLeft > 0 ? try await reader.next(isolation: self) : nil
      self.reader = reader
      guard let batch else {
        if permit != nil { counters.queried(cut: isCut) }
        permit = nil
        return nil
      }
      entries = batch.entries[...]
      if let reason = batch.truncated { end = Self.cut(reason.rawValue, since: batch.completeSince) }
    }
    var lines = LogLines()
    while lines.bytes.count < Self.pieceBytes, bytesLeft > 0, let entry = entries.popFirst() {
      bytesLeft -= entry.bytes.count
      lines.append(entry.bytes)
    }
    if bytesLeft <= 0 {
      entries = []
      if end == nil, !isCut { end = Self.cut("bytes") }
    }
    if entries.isEmpty, let line = end {
      isCut = true
      end = nil
      lines.append(line)
    }
    return lines
  }

  /// The last line of a cut answer: why, and from when on it is complete.
  static func cut(_ reason: String, since: Int64? = nil) -> [UInt8] {
    let since = since.map { ",\"since\":\"\(RecordTime.text($0))\"" } ?? ""
    return Array("{\"truncated\":\"\(reason)\"\(since)}".utf8)
  }
}
