/// What a query may still read.
struct ReadBudget: Sendable {
  private var records: Int
  private var bytes: Int64
  /// Records looked at so far.
  private(set) var looked = 0

  init(_ bounds: LogQueryBounds) {
    records = bounds.recordsMaximum
    bytes = bounds.bytesMaximum
  }

  /// How many records of a part may be looked at, and which bound says so. The records of a part count as long as they are
  /// on average.
  func rows(of source: QuerySource) -> (count: Int, bound: LogTruncation) {
    let fitting = Int(clamping: bytes / source.averageBytes)
    return fitting < records ? (fitting, .scan) : (records, .records)
  }

  /// Notes that so many records of a part were looked at.
  mutating func take(_ count: Int, of source: QuerySource) {
    looked += count
    records -= count
    bytes -= min(bytes, Int64(count) * source.averageBytes)
  }
}
