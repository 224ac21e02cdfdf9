import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import StateStore
import Synchronization
import Testing

@testable import ControlPlane

/// The metrics of calls: what they count, that labels are bounded, and that the page names each.
@Suite("Asynchronous calls: metrics") struct CallMetricsTests {
  private func value(_ text: String, _ sample: String) -> Int? {
    text.split(separator: "\n").first { $0.hasPrefix(sample + " ") }?.split(separator: " ").last.flatMap { Int($0) }
  }

  @Test func `depth, age, attempts, dead letters and callbacks are counted by function`() async throws {
    let stage = try CallServiceTests.Stage(
      answer: { call, run in
        .answered(CallAnswer(status: call.head.function == "g" ? 500 : run == 1 ? 503 : 200))
      }, callback: { $0.url.contains("bad") ? "refused" : nil })
    let service = try await stage.service(MemoryStore(boot: 0))
    try await service.enqueue(stage.call("a", "f", callback: "http://example.com/ok"))
    stage.clock.advance(milliseconds: 7000)
    try await service.enqueue(stage.call("b", "f"))
    try await service.enqueue(stage.call("c", "g", callback: "http://example.com/bad"))
    let before = service.metricsText()
    #expect(value(before, #"apus_async_queue_depth{function="default/f"}"#) == 2)
    #expect(value(before, #"apus_async_oldest_seconds{function="default/f"}"#) == 7)
    #expect(value(before, #"apus_async_oldest_seconds{function="default/g"}"#) == 0)
    #expect(value(before, #"apus_async_calls_total{function="default/f"}"#) == 2)
    let running = Task { await service.run() }
    let ended = await eventually(within: .seconds(20)) {
      stage.clock.advance(milliseconds: 10_000)
      let text = service.metricsText()
      return self.value(text, #"apus_async_dead_letters{function="default/g"}"#) == 1
        && self.value(text, "apus_async_results") == 2
        && self.value(text, #"apus_async_callbacks_total{function="default/g",outcome="given_up"}"#) == 1
    }
    running.cancel()
    await running.value
    let after = service.metricsText()
    #expect(ended, "\(after)")
    #expect(value(after, #"apus_async_attempts_total{function="default/f",outcome="done"}"#) == 2)
    #expect(value(after, #"apus_async_attempts_total{function="default/f",outcome="retried"}"#) == 2)
    #expect(value(after, #"apus_async_attempts_total{function="default/g",outcome="dead"}"#) == 1)
    #expect(value(after, #"apus_async_attempts_total{function="default/g",outcome="retried"}"#) == 4)
    #expect(value(after, #"apus_async_callbacks_total{function="default/f",outcome="sent"}"#) == 1)
    #expect(value(after, #"apus_async_callbacks_total{function="default/g",outcome="retried"}"#) == 2)
    #expect(value(after, #"apus_async_queue_depth{function="default/g"}"#) == 0)
    #expect(value(after, #"apus_async_oldest_seconds{function="default/g"}"#) == nil)
  }

  @Test func `functions beyond the bound are counted as other`() {
    let metrics = CallMetrics()
    for index in 0..<(Limits.asyncMeteredFunctions + 50) { metrics.taken("default/f\(index)") }
    let text = metrics.text([:], results: 0, resultBytes: 0, at: Timestamp(milliseconds: 0))
    let rows = text.split(separator: "\n").filter { $0.hasPrefix("apus_async_calls_total{") }
    #expect(rows.count == Limits.asyncMeteredFunctions + 1)
    #expect(value(text, #"apus_async_calls_total{function="other"}"#) == 50)
  }

  @Test func `the page about operations names every metric`() throws {
    var root = URL(filePath: #filePath).deletingLastPathComponent()
    while !FileManager.default.fileExists(atPath: root.appending(path: "Package.swift").path) {
      root.deleteLastPathComponent()
    }
    let page = try String(contentsOf: root.appending(path: "docs/operations.md"), encoding: .utf8)
    let text = CallMetrics().text([:], results: 0, resultBytes: 0, at: Timestamp(milliseconds: 0))
    let names = text.matches(of: /# TYPE (\S+)/).map { String($0.1) }
    #expect(names.count == 12)
    for name in names { #expect(page.contains("`\(name)`"), "\(name) is missing") }
    for line in page.split(separator: "\n") {
      for match in line.matches(of: /`(apus_(?:async|schedule)_\w+)`/) {
        #expect(names.contains(String(match.1)), "\(match.1) does not exist")
      }
    }
  }
}
