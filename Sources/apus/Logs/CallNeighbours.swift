import ClusterAPI
import ClusterModel

/// Lines that probably belong to a call: of a pod that ran one call at a time and does not name calls in its lines.
struct CallNeighbours {
  /// Lines of one pod added at most.
  static let linesMax = 1000

  /// A line and whether its call is a guess.
  struct Line: Hashable {
    /// The record.
    let bytes: [UInt8]
    /// Whether only time and pod tie it to the call.
    let approximate: Bool
  }

  /// One run of the call in a pod, as the gateway's access record has it.
  struct Run: Hashable {
    /// The function's name.
    let function: String
    /// Its namespace.
    let namespace: String
    /// The pod's name.
    let pod: String
    /// When the call began and ended.
    let from: Timestamp
    /// The moment after its end.
    let to: Timestamp
  }

  /// The cluster.
  let cluster: ClusterConnection
  /// The namespaces searched.
  let namespaces: [String]?

  /// The lines with those of the same pods and times that name no call, in the order of time.
  func added(to lines: [Line]) async throws -> [Line] {
    var all = lines
    for run in Set(lines.compactMap { CallNeighbours.run($0.bytes) }) {
      guard let function = try? await cluster.function(run.function, in: run.namespace),
        function.spec.runtime.servesPort, function.spec.concurrency == 1
      else { continue }
      let request = LogRequest(
        namespaces: namespaces, query: "pod:\(LogSearch.quoted(run.pod)) AND (stream:stdout OR stream:stderr)",
        since: run.from, until: run.to, limit: Self.linesMax)
      for try await line in try await cluster.logs.query(request) where CallNeighbours.namesNoCall(line) {
        all.append(Line(bytes: line, approximate: true))
      }
    }
    guard all.count > lines.count else { return lines }
    return all.sorted {
      (LogFollower.time(of: $0.bytes) ?? .init(nanoseconds: 0))
        < (LogFollower.time(of: $1.bytes) ?? .init(nanoseconds: 0))
    }
  }

  /// The run an access record tells of; nil for other records.
  static func run(_ bytes: [UInt8]) -> Run? {
    guard let record = try? JSONValue(bytes: bytes).decoded(as: LogRecord.self), record.stream == .access,
      !record.pod.isEmpty
    else { return nil }
    let duration: Double =
      switch record.fields["duration_ms"] {
      case .int(let value): Double(value)
      case .double(let value): value
      default: 0
      }
    // The record's time is the call's begin; a millisecond on each side covers the rounding of the two clocks' readings.
    let length = Int64(min(max(0, duration), 1e9)) + 2
    return Run(
      function: record.function, namespace: record.namespace, pod: record.pod,
      from: record.time.advanced(milliseconds: -1), to: record.time.advanced(milliseconds: length))
  }

  private static func namesNoCall(_ bytes: [UInt8]) -> Bool {
    (try? JSONValue(bytes: bytes))?["call"]?.stringValue?.isEmpty ?? true
  }
}
