internal import ClusterAPI
internal import ClusterModel
internal import LogIndex

extension LogService {
  /// How a query would be answered: a line `{"step":"…"}` for each thing worth knowing.
  func explanation(_ request: LogRequest, _ query: LogQuery) -> AsyncThrowingStream<LogLines, any Error> {
    var lines = LogLines()
    for step in steps(request, query) { lines.append(Array(JSONValue.object(["step": .string(step)]).encoded())) }
    return AsyncThrowingStream { continuation in
      continuation.yield(lines)
      continuation.finish()
    }
  }

  private func steps(_ request: LogRequest, _ query: LogQuery) -> [String] {
    let text = request.query.isEmpty ? "every record" : request.query
    let stats = request.stats.map { " | stats \($0)" } ?? ""
    let names = request.namespaces.map { $0.joined(separator: ", ") } ?? "all"
    let steps = ["query: \(text)\(stats)", "namespaces: \(names)"]
    let bounds = options.bounds
    return steps + store.explain(query, scope: LogScope(namespaces: request.namespaces)).steps
      + [
        "cut after \(bounds.timeMaximum), \(bounds.recordsMaximum) records or \(bounds.bytesMaximum) bytes of records read"
      ]
  }
}
