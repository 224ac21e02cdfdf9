import ArgumentParser
import LogIndex
import LogService
import Testing

@testable import apus

@Suite struct LogKeepTests {
  private static let week: Duration = .seconds(7 * 86_400)

  @Test func `without rules the logs of a week are kept, five gibibytes of them`() throws {
    let kept = try LogKeepOptions.parse([]).options.retention
    #expect(kept == LogRetention(maxAge: Self.week, maxBytes: 5 << 30))
  }

  @Test func `rules set the limits they name, of the whole or of a part`() throws {
    let options = try LogKeepOptions.parse([
      "--log-keep", "30d", "--log-keep", "team-a=2d", "--log-keep", "default/chatty=1h30m,200Mi",
    ])
    var expected = LogRetention(maxAge: .seconds(30 * 86_400), maxBytes: 5 << 30)
    expected.rules = [
      LogRetentionRule(namespace: "team-a", maxAge: .seconds(2 * 86_400)),
      LogRetentionRule(namespace: "default", function: "chatty", maxAge: .seconds(5400), maxBytes: 200 << 20),
    ]
    #expect(options.options.retention == expected)
    #expect(try LogKeepOptions.parse(options.flags).options.retention == expected)
    #expect(
      try LogKeepOptions.parse(["--log-keep", "all"]).options.retention == LogRetention(maxAge: nil, maxBytes: nil))
    #expect(
      try LogKeepOptions.parse(["--log-keep", "1Gi"]).options.retention
        == LogRetention(maxAge: Self.week, maxBytes: 1 << 30))
  }

  @Test func `the memory for what queries read is handed on`() throws {
    let options = try LogKeepOptions.parse(["--log-cache", "96Mi"])
    #expect(options.options.index.cacheBytes == 96 << 20)
    #expect(options.flags == ["--log-cache", "96Mi"])
    #expect(try LogKeepOptions.parse([]).options.index.cacheBytes >= 64 << 20)
    for text in ["", "1", "-1Mi", "2Ti", "much"] {
      #expect(throws: (any Error).self) { try LogKeepOptions.parse(["--log-cache=\(text)"]) }
    }
  }

  @Test(arguments: [
    "", "soon", "0s", "7d,7d", "1Gi,2Gi", "7d,", "=7d", "a/=7d", "/f=7d", "a/b/c=7d", "a=", "a=all", "0", "-1d",
  ])
  func `what is no rule is refused`(_ text: String) {
    #expect(throws: (any Error).self) { try LogKeepOptions.parse(["--log-keep=\(text)"]) }
  }
}
