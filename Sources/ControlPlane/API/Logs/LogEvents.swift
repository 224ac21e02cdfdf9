/// A live tail as server-sent events: a record is an event without a name; how many were dropped, because its reader was too
/// slow, is an event `dropped`.
enum LogEvents {
  private static let dropped = Array("{\"dropped\":".utf8)

  /// The bytes of one line's event.
  static func event(_ line: [UInt8]) -> [UInt8] {
    let head = line.starts(with: dropped) ? "event: dropped\ndata: " : "data: "
    return Array(head.utf8) + line + [10, 10]
  }
}
