internal import ClusterModel

/// A worker's record of lines it had to drop; pure.
struct DropRecord {
  /// Whose they were, and why they were dropped.
  let about: LogCounters.Drop
  /// How many.
  let count: Int64

  private static let stream = Array("\"stream\":\"platform\"".utf8)
  /// Where the member stands at the latest in what a worker writes: behind the time and four names.
  private static let streamEnd = 1200

  /// Whether a line may be one: a look at its bytes, for it is done to each.
  static func mayBe(_ line: [UInt8]) -> Bool {
    line.withUnsafeBytes { line in
      let last = min(line.count, streamEnd) - stream.count
      guard last > 0 else { return false }
      for start in 0..<last where line[start + 10] == 0x70 && line[start + 11] == 0x6C && line[start + 1] == 0x73 {
        if line[start..<(start + stream.count)].elementsEqual(stream) { return true }
      }
      return false
    }
  }

  /// Reads a line; nil for any other record.
  init?(_ line: [UInt8]) {
    guard let record = try? JSONValue(bytes: line), record["stream"] == .string("platform"),
      let count = record.at(path: "fields.dropped")?.intValue, count > 0,
      let cause = record.at(path: "fields.cause")?.stringValue, ["rate", "spool"].contains(cause)
    else { return nil }
    self.count = count
    about = LogCounters.Drop(
      namespace: record["namespace"]?.stringValue ?? "", function: record["function"]?.stringValue ?? "", cause: cause)
  }
}
