internal import ClusterAPI
internal import ClusterModel
internal import LogIndex

/// Answers searches in Elasticsearch's shape from the one engine.
struct ElasticAnswers: Sendable {
  /// Bytes of one answer's documents, at most.
  static let bytesMaximum = 64 << 20

  let service: LogService

  /// How much of an answer the service's bounds have cut off.
  private struct Cut {
    var time = false
    var other = false

    mutating func note(_ reason: LogTruncation?) {
      switch reason {
      case .time: time = true
      case .some: other = true
      case nil: break
      }
    }
  }

  /// The body of a search's answer.
  func search(_ search: ElasticSearch, _ indices: ElasticIndices) async throws -> [UInt8] {
    let started = ContinuousClock.now
    let permit = try permit()
    defer { withExtendedLifetime(permit) {} }
    let (query, scope) = try parsed(search.filter, indices)
    var cut = Cut()
    let hits = search.size == 0 ? [] : try await hits(search, query, scope, &cut)
    var total: Int?
    if search.countsTotal {
      let isAll =
        search.size > 0 && search.after == nil && hits.count < search.size && (search.from == 0 || !hits.isEmpty)
      total = isAll ? hits.count + search.from : try await count(search.filter, indices, &cut)
    }
    var aggregations: JSONValue?
    if !search.aggregations.isEmpty {
      let plan = ElasticPlan(search.aggregations)
      var buckets = ElasticBuckets(plan)
      for (name, step) in plan.steps.sorted(by: { $0.key.count < $1.key.count }) {
        let (query, scope) = try parsed(search.filter, indices, stats: step.stats)
        let result = try await service.store.stats(query, scope: scope, bounds: service.options.bounds)
        cut.note(result.truncated)
        buckets.take(name, result.rows)
      }
      aggregations = try buckets.answer(search.aggregations)
    }
    service.counters.queried(cut: cut.time || cut.other)
    let took = (ContinuousClock.now - started) / .milliseconds(1)
    var output: [UInt8] = []
    output.append(contentsOf: "{\"took\":\(Int(took)),\"timed_out\":\(cut.time),".utf8)
    if cut.other { output.append(contentsOf: "\"terminated_early\":true,".utf8) }
    output.append(contentsOf: "\"_shards\":{\"total\":1,\"successful\":1,\"skipped\":0,\"failed\":0},\"hits\":{".utf8)
    if let total {
      let relation = cut.time || cut.other ? "gte" : "eq"
      output.append(contentsOf: "\"total\":{\"value\":\(total),\"relation\":\"\(relation)\"},".utf8)
    }
    output.append(contentsOf: "\"max_score\":null,\"hits\":[".utf8)
    for (index, hit) in hits.enumerated() {
      if index > 0 { output.append(UInt8(ascii: ",")) }
      append(hit, search, to: &output)
    }
    output.append(contentsOf: "]}".utf8)
    if let aggregations {
      output.append(contentsOf: ",\"aggregations\":".utf8)
      output.append(contentsOf: aggregations.encoded())
    }
    output.append(UInt8(ascii: "}"))
    return output
  }

  /// How many records match.
  func count(_ filter: String, _ indices: ElasticIndices) async throws -> Int {
    let permit = try permit()
    defer { withExtendedLifetime(permit) {} }
    var cut = Cut()
    let count = try await count(filter, indices, &cut)
    service.counters.queried(cut: cut.time || cut.other)
    return count
  }

  /// How many records each index has, by its name.
  func indices(_ indices: ElasticIndices) async throws -> [(name: String, records: Int)] {
    let permit = try permit()
    defer { withExtendedLifetime(permit) {} }
    let (query, scope) = try parsed(QueryWords.everything, indices, stats: "count() by (namespace)")
    let result = try await service.store.stats(query, scope: scope, bounds: service.options.bounds)
    service.counters.queried(cut: result.truncated != nil)
    return result.rows.compactMap { row in
      guard case .text(let name) = row.values[0], case .count(let count) = row.values[1] else { return nil }
      return (name, count)
    }
  }

  // MARK: Parts

  private func permit() throws -> QueryPermit {
    guard let permit = service.permits.take() else {
      service.counters.queryRefused()
      throw APIStatus.tooManyRequests("\(service.permits.maximum) log queries are running", retryAfterSeconds: 1)
    }
    return permit
  }

  private func parsed(
    _ filter: String, _ indices: ElasticIndices, stats: String? = nil
  ) throws(ElasticError) -> (LogQuery, LogScope) {
    let text = indices.filter.map { QueryWords.all([$0, filter]) } ?? filter
    do throws(LogQueryError) {
      return (try LogQuery.parse(text, stats: stats), LogScope(namespaces: indices.namespaces))
    } catch {
      throw ElasticError(error)
    }
  }

  private func count(_ filter: String, _ indices: ElasticIndices, _ cut: inout Cut) async throws -> Int {
    let (query, scope) = try parsed(filter, indices, stats: "count()")
    let result = try await service.store.stats(query, scope: scope, bounds: service.options.bounds)
    cut.note(result.truncated)
    guard case .count(let count)? = result.rows.first?.values.first else { return 0 }
    return count
  }

  /// The hits in their order. Oldest first reads everything that matches and keeps the last of it.
  private func hits(
    _ search: ElasticSearch, _ query: LogQuery, _ scope: LogScope, _ cut: inout Cut
  ) async throws -> [LogEntry] {
    var query = query
    let wanted = search.from + search.size
    if search.isAscending {
      if let after = search.after { query.range.since = max(query.range.since ?? .min, after.time) }
    } else {
      query.limit = wanted
      query.after = search.after
    }
    var found: [LogEntry] = []
    var start = 0
    var bytes = 0
    for try await batch in service.store.query(query, scope: scope, bounds: service.options.bounds) {
      cut.note(batch.truncated)
      for entry in batch.entries {
        if search.isAscending, let after = search.after, entry.position <= after { continue }
        found.append(entry)
        bytes += entry.bytes.count
        guard search.isAscending, found.count - start > wanted else { continue }
        bytes -= found[start].bytes.count
        found[start].bytes = []
        start += 1
        if start > 4096 {
          found.removeFirst(start)
          start = 0
        }
      }
      guard bytes <= Self.bytesMaximum else {
        throw ElasticError(
          429, "circuit_breaking_exception",
          "the hits are longer than \(Self.bytesMaximum) bytes; ask for fewer with size, or for less with _source")
      }
    }
    found.removeFirst(start)
    if search.isAscending { found.reverse() }
    return Array(found.dropFirst(search.from))
  }

  private func append(_ entry: LogEntry, _ search: ElasticSearch, to output: inout [UInt8]) {
    let hit = ElasticDocument.hit(entry.bytes, time: entry.position.time)
    output.append(contentsOf: "{\"_index\":".utf8)
    JSONOutput.append(hit?.index ?? "", to: &output)
    output.append(contentsOf: ",\"_id\":".utf8)
    JSONOutput.append(hit?.id ?? ElasticSearch.text(entry.position), to: &output)
    output.append(contentsOf: ",\"_score\":null".utf8)
    if search.source.isWanted {
      output.append(contentsOf: ",\"_source\":".utf8)
      output.append(contentsOf: search.source.cut(hit?.source ?? Array("{}".utf8)))
    }
    if !search.sorts.isEmpty {
      output.append(contentsOf: ",\"sort\":".utf8)
      output.append(contentsOf: search.sort(entry.position))
    }
    output.append(UInt8(ascii: "}"))
  }
}
