import ClusterAPI
import ClusterModel

/// The first call that waited for a pod's start, as its access record tells: what a caller saw of the start.
struct ColdCall: Hashable {
  /// Its id.
  var call: String
  /// Milliseconds it waited for the pod.
  var queued: Double
  /// Milliseconds from its head to the answer's first byte; nil when no byte came.
  var firstByte: Double?

  /// Calls that may have waited for one pod: its concurrency, and some that were sent again.
  private static let callsMax = 1000

  /// Reads it from an access record; nil when it is none.
  init?(record line: [UInt8]) {
    guard let record = try? JSONValue(bytes: line), let call = record["call"]?.stringValue,
      let fields = record["fields"],
      let queued = fields["queue_ms"]?.numberValue
    else { return nil }
    (self.call, self.queued, firstByte) = (call, queued, fields["first_byte_ms"]?.numberValue)
  }

  /// The first of a pod; nil when none waited for it, or its record is not kept any more.
  static func first(of pod: Pod, _ cluster: ClusterConnection) async throws -> ColdCall? {
    let request = LogRequest(
      namespaces: pod.metadata.namespace.map { [$0] },
      query: "pod:\(LogSearch.quoted(pod.metadata.name)) AND stream:access AND cold:true",
      since: pod.metadata.creationTimestamp, until: nil, limit: callsMax, stats: nil)
    var oldest: [UInt8]?
    for try await line in try await cluster.logs.query(request) { oldest = line }
    return oldest.flatMap(ColdCall.init)
  }

  /// For people: `4.2ms to the first byte, 3.1ms of them waiting (call ID)`.
  var sentence: String {
    let waited =
      "\(Figures.milliseconds(queued))\(firstByte == nil ? "" : " of them") waiting (call \(Text.visible(call)))"
    guard let firstByte else { return waited }
    return "\(Figures.milliseconds(firstByte)) to the first byte, \(waited)"
  }
}
