import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import LogIndex
import Logging
import Testing

@testable import LogService

/// Searches in Elasticsearch's shape on a real store.
@Suite("Elasticsearch searches") struct ElasticSearchTests {
  private let folder: TemporaryFolder
  private let service: LogService
  private let lanes: PushLanes
  private static let start: Int64 = 1_795_343_400_000_000_000

  init() throws {
    folder = try TemporaryFolder("apus-elastic")
    service = try LogService.open(
      directory: folder.path, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    lanes = PushLanes(sink: service)
  }

  /// 120 records, one a second: the n-th of `app` takes n ms, every tenth is an error, every third of `web`.
  private func fill() async throws {
    let lines = try (0..<120).map { number in
      var record = PushRecord(
        time: Self.start + Int64(number) * 1_000_000_000, namespace: number % 3 == 0 ? "web" : "app")
      record.function = number % 2 == 0 ? "shop" : "cart"
      record.level = number % 10 == 0 ? .error : .info
      record.message = "request \(number) done"
      record.fields = [
        ("duration_ms", Array("\(number)".utf8)), ("status", Array("\(number % 10 == 0 ? 500 : 200)".utf8)),
      ]
      return try record.line()
    }
    let outcome = await lanes.append(lines)
    #expect(outcome.stored == 120 && outcome.failure == nil)
  }

  private func search(_ body: String, index: String? = nil) async throws -> JSONValue {
    let search = try ElasticSearch(try JSONValue(bytes: Array(body.utf8)), now: Self.start)
    return try JSONValue(
      bytes: try await ElasticAnswers(service: service).search(search, try ElasticIndices(index)))
  }

  private func messages(_ answer: JSONValue) -> [String] {
    (answer["hits"]?["hits"]?.arrayValue ?? []).compactMap { $0["_source"]?["message"]?.stringValue }
  }

  private func total(_ answer: JSONValue) -> Int64? { answer.at(path: "hits.total.value")?.intValue }

  @Test func `hits come newest first with their number, cut to an index and a size`() async throws {
    try await fill()
    let all = try await search("{}")
    #expect(messages(all) == (110...119).reversed().map { "request \($0) done" } && total(all) == 120)
    let web = try await search(#"{"size":3,"from":1}"#, index: "web")
    #expect(messages(web) == ["request 114 done", "request 111 done", "request 108 done"] && total(web) == 40)
    let pattern = try await search(#"{"size":1000,"query":{"term":{"level":"error"}}}"#, index: "w*,none")
    #expect(total(pattern) == 4 && messages(pattern).count == 4)
    let none = try await search(#"{"query":{"match_none":{}}}"#)
    #expect(messages(none).isEmpty && total(none) == 0)
    #expect(try await search(#"{"size":0,"track_total_hits":false}"#).at(path: "hits.total") == nil)
    await service.store.close()
  }

  @Test(arguments: ["asc", "desc"])
  func `search_after walks through every hit once`(_ order: String) async throws {
    try await fill()
    // Ten records of one nanosecond: only their numbers tell them apart.
    var same: [[UInt8]] = []
    for number in 0..<10 {
      var record = PushRecord(time: Self.start + 50_000_000_000, namespace: "app")
      record.message = "same \(number)"
      same.append(try record.line())
    }
    _ = await lanes.append(same)
    var seen: [String] = []
    var after = ""
    repeat {
      let page = try await search(#"{"size":7,"sort":[{"@timestamp":{"order":"\#(order)"}}]\#(after)}"#)
      #expect(total(page) == 130)
      let hits = page["hits"]?["hits"]?.arrayValue ?? []
      seen += messages(page)
      guard let sort = hits.last?["sort"] else { break }
      #expect(sort.arrayValue?.count == 2)
      after = #","search_after":\#(String(decoding: sort.encoded(), as: UTF8.self))"#
    } while seen.count < 500
    #expect(seen.count == 130 && Set(seen).count == 130)
    #expect(order == "asc" ? seen.first == "request 0 done" : seen.first == "request 119 done")
    await service.store.close()
  }

  @Test func `aggregations are statistics of the one engine, put into each other`() async throws {
    try await fill()
    let answer = try await search(
      """
      {"size":0,"aggs":{
        "over_time":{"date_histogram":{"field":"@timestamp","fixed_interval":"30s"},
          "aggs":{"levels":{"terms":{"field":"level"}},"slow":{"percentiles":{"field":"duration_ms","percents":[50,99]}}}},
        "functions":{"terms":{"field":"service.name.keyword","size":1,"order":{"_key":"asc"}},
          "aggs":{"mean":{"avg":{"field":"duration_ms"}}}},
        "codes":{"terms":{"field":"status"}},
        "spread":{"stats":{"field":"duration_ms"}},
        "slow":{"percentiles":{"field":"duration_ms","percents":[99],"keyed":false}},
        "lines":{"value_count":{"field":"@timestamp"}}}}
      """)
    let over = answer.at(path: "aggregations.over_time.buckets")?.arrayValue ?? []
    #expect(over.count == 4 && over.allSatisfy { $0["doc_count"] == .int(30) })
    #expect(over[0]["key"] == .int(Self.start / 1_000_000))
    #expect(over[0]["key_as_string"] == .string("2026-11-22T10:30:00.000Z"))
    #expect(over[0].at(path: "levels.buckets")?.arrayValue?.map { $0["key"]?.stringValue } == ["info", "error"])
    #expect(over[0].at(path: "levels.buckets")?.arrayValue?.map { $0["doc_count"]?.intValue } == [27, 3])
    let values = over[0].at(path: "slow.values")?.objectValue
    #expect(values?["50.0"] != nil && values?["99.0"] == .int(29), "\(String(describing: values))")
    let functions = answer.at(path: "aggregations.functions")
    #expect(functions?["buckets"]?.arrayValue?.map { $0["key"]?.stringValue } == ["cart"])
    #expect(functions?["sum_other_doc_count"] == .int(60))
    #expect(functions?["buckets"]?.arrayValue?.first?.at(path: "mean.value") == .int(60))
    #expect(answer.at(path: "aggregations.codes.buckets")?.arrayValue?.map { $0["key"]?.intValue } == [200, 500])
    #expect(answer.at(path: "aggregations.spread.max") == .int(119))
    #expect(answer.at(path: "aggregations.spread.sum") == .int(7140))
    #expect(answer.at(path: "aggregations.slow.values")?.arrayValue?.first?["key"] == .int(99))
    #expect(answer.at(path: "aggregations.lines.value") == .int(120))
    await service.store.close()
  }

  @Test func `spans without records are there, too, unless they are not wanted`() async throws {
    try await fill()
    let histogram = #""date_histogram":{"field":"@timestamp","fixed_interval":"1s""#
    let query = #"{"size":0,"query":{"term":{"level":"error"}},"aggs":{"t":{"#
    let full = try await search(query + histogram + "}}}}")
    #expect(full.at(path: "aggregations.t.buckets")?.arrayValue?.count == 111)
    let sparse = try await search(query + histogram + #","min_doc_count":1}}}}"#)
    #expect(sparse.at(path: "aggregations.t.buckets")?.arrayValue?.count == 12)
    let tight = #"{"size":0,"aggs":{"t":{"date_histogram":{"field":"@timestamp","fixed_interval":"1ms"}}}}"#
    let error = await #expect(throws: ElasticError.self) { try await search(tight) }
    #expect(error?.type == "too_many_buckets_exception")
    // A record of 1700.
    _ = await lanes.append([try PushRecord(time: -8_500_000_000_000_000_000, namespace: "app").line()])
    let ages = #"{"size":0,"aggs":{"t":{"date_histogram":{"field":"@timestamp","fixed_interval":"1m"}}}}"#
    let far = await #expect(throws: ElasticError.self) { try await search(ages) }
    #expect(far?.type == "too_many_buckets_exception")
    await service.store.close()
  }

  @Test(arguments: [
    #"{"size":10001}"#, #"{"sort":[{"@timestamp":"asc"}],"search_after":[9223372036854]}"#,
    #"{"query":{"range":{"@timestamp":{"gte":-9223372036854}}}}"#,
    #"{"query":{"range":{"@timestamp":{"lte":"9223372036854||/w"}}}}"#, #"{"sort":["duration_ms"]}"#,
    #"{"search_after":[1]}"#, #"{"what":1}"#, #"{"post_filter":{}}"#,
    #"{"aggs":{"a":{"cardinality":{"field":"x"}}}}"#,
    #"{"aggs":{"a":{"avg":{"field":"x"},"aggs":{"b":{"avg":{"field":"x"}}}}}}"#,
    #"{"aggs":{"a":{"date_histogram":{"field":"@timestamp","calendar_interval":"month"}}}}"#,
    #"{"aggs":{"a":{"percentiles":{"field":"x","percents":[99.9]}}}}"#, #"[]"#, #"{"size":"many"}"#,
  ])
  func `what a search cannot be is 400`(_ body: String) throws {
    let error = #expect(throws: ElasticError.self) {
      try ElasticSearch(try JSONValue(bytes: Array(body.utf8)), now: 0)
    }
    #expect(error?.status == 400)
  }

  @Test func `pushes at the same time lose nothing and keep their order each`() async throws {
    let lanes = lanes
    await withTaskGroup { group in
      for task in 0..<40 {
        group.addTask {
          for number in 0..<5 {
            var record = PushRecord(time: Self.start, namespace: "n\(task)")
            record.message = "\(number)"
            guard let line = try? record.line() else { return }
            let outcome = await lanes.append([line])
            #expect(outcome.stored == 1 && outcome.failure == nil)
          }
        }
      }
    }
    let answer = try await search(#"{"size":0,"aggs":{"n":{"terms":{"field":"_index","size":100}}}}"#)
    #expect(total(answer) == 200)
    #expect(answer.at(path: "aggregations.n.buckets")?.arrayValue?.allSatisfy { $0["doc_count"] == .int(5) } == true)
    #expect(try await service.figures().skipped == 0)
    // The numbers go on where they were when the process comes back.
    await service.store.close()
    let again = try LogService.open(
      directory: folder.path, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    var record = PushRecord(time: Self.start, namespace: "late")
    record.message = "x"
    #expect(await PushLanes(sink: again).append([try record.line()]).stored == 1)
    #expect(try await again.figures().records == 201)
    #expect(try await again.figures().skipped == 0)
    await again.store.close()
  }

  @Test func `a full disk is told to each protocol so that its senders come again`() {
    let full = APIStatus.storageFull("full")
    #expect(ElasticError(full).status == 429)
    #expect(ElasticError(.unauthorized("who")).type == "security_exception")
  }

  @Test func `the metrics have what came in and went out`() async throws {
    try await fill()
    _ = try await search("{}")
    let text = await service.metricsText()
    for line in [
      "apus_log_records 120", "apus_log_memory_records 120", "apus_log_queries_total 1", "apus_log_blocks 0",
      #"apus_log_lines_total{from="worker"} 0"#,
    ] { #expect(text.contains(line + "\n"), "\(line) in \(text)") }
    await service.store.close()
  }
}
