internal import ClusterAPI
internal import ClusterModel
internal import LogIndex

extension LogService {
  /// How a query would be answered: a line `{"step":"…"}` for each thing worth knowing.
  func explanation(_ request: LogRequest, _ query: LogQuery) -> AsyncThrowingStream<[UInt8], any Error> {
    let lines = steps(request, query).map { Array(JSONValue.object(["step": .string($0)]).encoded()) }
    return AsyncThrowingStream { continuation in
      for line in lines { continuation.yield(line) }
      continuation.finish()
    }
  }

  private func steps(_ request: LogRequest, _ query: LogQuery) -> [String] {
    let parts = store.parts()
    let text = request.query.isEmpty ? "every record" : request.query
    let stats = request.stats.map { " | stats \($0)" } ?? ""
    let names = request.namespaces.map { $0.joined(separator: ", ") } ?? "all"
    var steps = ["query: \(text)\(stats)", "namespaces: \(names)"]
    switch (query.range.since, query.range.until) {
    case (nil, nil): steps.append("time: all")
    case (let since?, nil): steps.append("time: from \(RecordTime.text(since))")
    case (nil, let until?): steps.append("time: before \(RecordTime.text(until))")
    case (let since?, let until?):
      steps.append("time: from \(RecordTime.text(since)) to before \(RecordTime.text(until))")
    }
    steps.append(
      "searched: \(parts.memoryRecords) records in memory, then of \(parts.blocks) blocks (\(parts.blockBytes) bytes) those that "
        + "time, level and filters leave")
    if let stats = query.stats {
      steps.append("answer: rows of \(stats.columns.joined(separator: ", "))")
    } else {
      steps.append("answer: the newest \(query.limit ?? request.limit) records")
    }
    let bounds = options.bounds
    steps.append("cut after \(bounds.timeMaximum) or \(bounds.recordsMaximum) records read")
    return steps
  }
}
