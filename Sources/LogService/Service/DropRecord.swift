internal import ClusterModel

/// A worker's record of lines it had to drop; pure.
struct DropRecord {
  /// Whose they were, and why they were dropped.
  let about: LogCounters.Drop
  /// How many.
  let count: Int64

  /// What such a record has in it, and few others: looked for in all that arrives.
  static let stream = Array("\"stream\":\"platform\"".utf8)

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
