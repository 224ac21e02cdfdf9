import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import LogIndex
import Logging
import Synchronization
import Testing

@testable import LogService

@Suite struct LogServiceTests {
  private let folder: TemporaryFolder
  private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  init() throws { folder = try TemporaryFolder("apus-logservice") }

  private func service(_ change: (inout LogServiceOptions) -> Void = { _ in }) throws -> LogService {
    var options = LogServiceOptions()
    change(&options)
    return try LogService.open(directory: folder.path, options: options, logger: quiet)
  }

  private func record(_ number: Int, namespace: String = "default", level: LogLevel = .info) throws -> [UInt8] {
    let record = LogRecord(
      time: Timestamp(milliseconds: 1_795_132_800_000 + Int64(number)), namespace: namespace, function: "hello",
      stream: .stdout, level: level, call: "c-\(number)", msg: "line \(number)", fields: ["n": .int(Int64(number))])
    return Array(try JSONEncoder().encode(record))
  }

  private func lines(_ stream: AsyncThrowingStream<[UInt8], any Error>) async throws -> [String] {
    var found: [String] = []
    for try await line in stream { found.append(String(decoding: line, as: UTF8.self)) }
    return found
  }

  private func messages(_ stream: AsyncThrowingStream<[UInt8], any Error>) async throws -> [String] {
    try await lines(stream).map { try JSONDecoder().decode(LogRecord.self, from: Data($0.utf8)).msg }
  }

  @Test func `records of ClusterModel come back newest first, once each`() async throws {
    let service = try service()
    let batch = try (1...5).map { try record($0) }
    #expect(try await service.append(source: "n1/s", firstSequence: 1, lines: batch) == 5)
    #expect(try await service.append(source: "n1/s", firstSequence: 1, lines: batch) == 5)
    let found = try await lines(try await service.query(LogRequest(namespaces: nil, limit: 3)))
    #expect(found == batch.reversed().prefix(3).map { String(decoding: $0, as: UTF8.self) })
    #expect(
      try await messages(try await service.query(LogRequest(namespaces: nil, query: "n:>=2 | limit 2"))) == [
        "line 5", "line 4",
      ])
    #expect(try await messages(try await service.query(LogRequest(namespaces: ["other"]))) == [])
    let since = Timestamp(milliseconds: 1_795_132_800_002)
    let until = Timestamp(milliseconds: 1_795_132_800_004)
    #expect(
      try await messages(try await service.query(LogRequest(namespaces: nil, since: since, until: until))) == [
        "line 3", "line 2",
      ])
    await service.store.close()
  }

  @Test func `statistics are rows of JSON, not cut by the request's limit`() async throws {
    let service = try service()
    let batch = try (1...200).map { try record($0) }
    _ = try await service.append(source: "n1/s", firstSequence: 1, lines: batch)
    let rows = try await lines(try await service.query(LogRequest(namespaces: nil, limit: 10, stats: "count() by (n)")))
    #expect(rows.count == 200)
    #expect(rows.first == #"{"n":"1","count()":1}"#)
    await service.store.close()
  }

  @Test func `a wrong query is 400 with the column and what to do`() async throws {
    let service = try service()
    do {
      _ = try await service.query(LogRequest(namespaces: nil, query: "level:loud"))
      Issue.record("a wrong query was taken")
    } catch {
      #expect(error.code == 400)
      #expect(error.message == "query, column 7: 'loud' is no level; levels are trace, debug, info, warn, error, fatal")
    }
    do {
      _ = try await service.follow(LogRequest(namespaces: nil, stats: "count("))
      Issue.record("wrong statistics were taken")
    } catch { #expect(error.code == 400 && error.message.hasPrefix("stats, column")) }
    await #expect(throws: APIStatus.self) { try await service.follow(LogRequest(namespaces: nil, stats: "count()")) }
    await service.store.close()
  }

  @Test func `an answer cut by the bounds says so in its last line`() async throws {
    let service = try service { $0.bounds = LogQueryBounds(recordsMaximum: 10) }
    _ = try await service.append(source: "n1/s", firstSequence: 1, lines: try (1...50).map { try record($0) })
    let found = try await lines(try await service.query(LogRequest(namespaces: nil)))
    #expect(found.count == 11)
    #expect(found.last == #"{"truncated":"records","since":"2026-11-20T00:00:00.040000001Z"}"#)
    await service.store.close()
  }

  @Test func `an answer cut by the bytes a query may read says so`() async throws {
    let service = try service { $0.bounds = LogQueryBounds(bytesMaximum: 2_000) }
    let batch = try (1...50).map { try record($0, level: .error) }
    _ = try await service.append(source: "n1/s", firstSequence: 1, lines: batch)
    let most = 2_000 / (batch.reduce(0) { $0 + $1.count } / 50)
    let cut = #"{"truncated":"scan","since":"2026-11-20T00:00:00.0\#(50 - most)000001Z"}"#
    let found = try await lines(try await service.query(LogRequest(namespaces: nil)))
    #expect(found.count == most + 1 && found.last == cut)
    let rows = try await lines(try await service.query(LogRequest(namespaces: nil, stats: "count(n) as n")))
    #expect(rows == [#"{"n":\#(most)}"#, cut])
    await service.store.close()
  }

  /// More records than a batch and more bytes than a piece.
  @Test func `an answer in pieces is the answer in lines`() async throws {
    let service = try service()
    _ = try await service.append(source: "n1/s", firstSequence: 1, lines: try (1...2_000).map { try record($0) })
    for stats in [nil, "count() as n by (call, level)", "count() by (level)"] {
      let request = LogRequest(namespaces: nil, limit: 5_000, stats: stats)
      let found = try await lines(try await service.query(request))
      var pieces: [LogLines] = []
      for try await piece in try await service.answer(request) { pieces.append(piece) }
      #expect(pieces.flatMap(\.bytes) == found.flatMap { Array($0.utf8) + [10] })
      #expect(pieces.reduce(0) { $0 + $1.count } == found.count)
      #expect((pieces.count > 1) == (found.count == 2_000) && pieces.count < 10)
    }
    await service.store.close()
  }

  @Test func `a query can be explained instead of answered`() async throws {
    let service = try service()
    _ = try await service.append(source: "n1/s", firstSequence: 1, lines: try (1...5).map { try record($0) })
    let steps = try await lines(
      try await service.query(LogRequest(namespaces: ["web"], query: "level:error", explain: true)))
    #expect(steps.first == #"{"step":"query: level:error"}"# && steps.contains { $0.contains("5 records in memory") })
    let plan = service.store.explain(
      try LogQuery.parse("level:error | limit 100"), scope: LogScope(namespaces: ["web"]))
    #expect(steps.dropFirst(2).dropLast() == plan.steps.map { "{\"step\":\"\($0)\"}" }[...])
    await #expect(throws: APIStatus.self) {
      try await service.query(LogRequest(namespaces: nil, query: "level:loud", explain: true))
    }
    await #expect(throws: APIStatus.self) { try await service.follow(LogRequest(namespaces: nil, explain: true)) }
    await service.store.close()
  }

  @Test func `an answer of too many bytes is cut and says so`() async throws {
    let service = try service { $0.answerBytesMaximum = 1000 }
    _ = try await service.append(source: "n1/s", firstSequence: 1, lines: try (1...50).map { try record($0) })
    let found = try await lines(try await service.query(LogRequest(namespaces: nil)))
    #expect((2...10).contains(found.count) && found.last == #"{"truncated":"bytes"}"#)
    await service.store.close()
  }

  @Test func `queries beyond the most are 429, and give their places back`() async throws {
    let service = try service { $0.queriesMaximum = 1 }
    _ = try await service.append(source: "n1/s", firstSequence: 1, lines: try (1...3).map { try record($0) })
    do {
      let first = try await service.query(LogRequest(namespaces: nil))
      do {
        _ = try await service.query(LogRequest(namespaces: nil))
        Issue.record("a second query was let in")
      } catch { #expect(error.code == 429) }
      #expect(try await lines(first).count == 3)
    }
    #expect(try await lines(try await service.query(LogRequest(namespaces: nil))).count == 3)
    _ = try await service.query(LogRequest(namespaces: nil))
    #expect(try await lines(try await service.query(LogRequest(namespaces: nil))).count == 3)
    await service.store.close()
  }

  @Test func `following gives what arrives from then on and ends with its reader`() async throws {
    let service = try service()
    _ = try await service.append(source: "n1/s", firstSequence: 1, lines: [try record(1)])
    let stream = try await service.follow(LogRequest(namespaces: ["default"], query: "level:error"))
    _ = try await service.append(
      source: "n1/s", firstSequence: 2,
      lines: [
        try record(2), try record(3, level: .error), try record(4, namespace: "x", level: .error),
        try record(5, level: .error),
      ])
    let reader = Task {
      var found: [String] = []
      for try await line in stream {
        found.append(try JSONDecoder().decode(LogRecord.self, from: Data(line)).msg)
        if found.count == 2 { break }
      }
      return found
    }
    #expect(try await reader.value == ["line 3", "line 5"])
    let endless = Task { [service] in
      let stream = try await service.follow(LogRequest(namespaces: nil))
      for try await _ in stream {}
    }
    #expect(try await eventually { try await service.figures().tails >= 1 })
    endless.cancel()
    _ = await endless.result
    await service.store.close()
  }

  @Test func `a slow follower is told how much it missed`() async throws {
    let service = try service { $0.index.tailRecordsMaximum = 5 }
    let stream = try await service.follow(LogRequest(namespaces: nil))
    for number in 1...40 {
      _ = try await service.append(source: "n1/s", firstSequence: UInt64(number), lines: [try record(number)])
    }
    var seen = 0
    var dropped = 0
    for try await line in stream {
      if let value = try? JSONDecoder().decode([String: Int].self, from: Data(line)) {
        dropped += value["dropped"] ?? 0
      } else {
        seen += 1
      }
      if seen + dropped == 40 { break }
    }
    #expect(seen >= 5 && dropped > 0)
    await service.store.close()
  }

  @Test func `the service retains while it runs, and closes the store when it ends`() async throws {
    let service = try service {
      $0.retention = LogRetention(maxAge: .seconds(3_600), maxBytes: nil)
      $0.retentionInterval = .milliseconds(5)
    }
    _ = try await service.append(source: "n1/s", firstSequence: 1, lines: try (1...3).map { try record($0) })
    let old = LogRecord(time: Timestamp(milliseconds: 1), namespace: "default", stream: .stdout, msg: "old")
    let recent = LogRecord(time: .now(), namespace: "default", stream: .stdout, msg: "recent")
    _ = try await service.append(
      source: "n1/s", firstSequence: 4,
      lines: [Array(try JSONEncoder().encode(old)), Array(try JSONEncoder().encode(recent))])
    let running = Task { try await service.run() }
    #expect(
      try await eventually {
        try await messages(try await service.query(LogRequest(namespaces: nil, query: "old"))).isEmpty
      })
    #expect(try await messages(try await service.query(LogRequest(namespaces: nil, query: "recent"))) == ["recent"])
    running.cancel()
    try await running.value
    let late = try record(6)
    do throws(APIStatus) {
      _ = try await service.append(source: "n1/s", firstSequence: 6, lines: [late])
      Issue.record("a closed service took records")
    } catch { #expect(error.code == 503) }
  }

  @Test func `a damaged store is reported and replaced`() async throws {
    try Data("garbage".utf8).write(to: folder.url.appendingPathComponent("logs.sqlite"))
    let notices = Mutex<[String]>([])
    let service = try service { $0.index.notice = { text in notices.withLock { $0.append(text) } } }
    #expect(notices.withLock { $0.count } == 1)
    #expect(try await service.append(source: "n1/s", firstSequence: 1, lines: [try record(1)]) == 1)
    await service.store.close()
  }

  @Test func `a nearly full volume is 507`() async throws {
    let service = try service { $0.index.minimumFreeBytes = .max }
    let line = try record(1)
    do throws(APIStatus) {
      _ = try await service.append(source: "n1/s", firstSequence: 1, lines: [line])
      Issue.record("records were taken")
    } catch {
      #expect(error.code == 507)
      #expect(error.message.contains("free space on its volume"))
    }
    await service.store.close()
  }

  @Test func `what workers had to drop becomes a metric by function, once`() async throws {
    let service = try service()
    var record = LogRecord(
      time: Timestamp(milliseconds: 1_795_132_800_000), namespace: "default", function: "loud", stream: .platform,
      level: .warn, msg: "9 lines dropped", fields: ["dropped": .int(9), "cause": .string("rate")])
    let told = Array(try JSONEncoder().encode(record))
    record.stream = .stdout
    let lie = Array(try JSONEncoder().encode(record))
    for _ in 0..<2 {
      _ = try await service.append(source: "n1/s", firstSequence: 1, lines: [told, lie, try self.record(1)])
    }
    _ = try await service.append(source: "n1/s", firstSequence: 4, lines: [told])
    let line = #"apus_log_dropped_total{namespace="default",function="loud",cause="rate"} 18"#
    #expect(await service.metricsText().contains(line + "\n"))
    #expect(await service.metricsText().contains(#"apus_log_lines_total{from="worker"}"#))
    await service.store.close()
  }

  @Test func `figures become Prometheus text`() {
    var figures = LogFigures()
    figures.records = 7
    figures.rejected = 2
    let text = LogMetrics.text(figures, parts: LogParts(), sums: LogCounters.Sums(), running: 0)
    #expect(text.contains("# TYPE apus_log_records gauge\napus_log_records 7\n"))
    #expect(text.contains("apus_log_rejected_total 2\n"))
  }
}
