import ClusterTestSupport
import Testing

@testable import LogIndex

@Suite struct QueryErrorTests {
  @Test(arguments: [
    ("level:", 7, "no value after"), ("level: error", 7, "no value after"), ("level:loud", 7, "is no level"),
    ("a \"b", 3, "never closed"), ("(a", 1, "'(' without ')'"), ("a)", 2, "')' without '('"),
    ("()", 1, "empty parentheses"),
    ("a AND", 6, "ends where a term"), ("OR a", 1, "operator without a term"),
    ("a OR OR b", 6, "operator without a term"),
    ("NOT", 4, "ends where a term"), ("ms:>", 5, "nothing to compare"), ("ms:>x", 5, "is no number"),
    ("ms:1..x", 4, "is no number"), ("function:>a", 11, "has no order"), ("time:>soon", 7, "is no time"),
    ("msg:/x", 5, "never closed"), ("msg:/x/y", 8, "unexpected text after"), ("p://", 3, "empty regular"),
    ("é p:/a(b/", 7, "'(' without ')'"), ("msg:/\\q/", 6, "no meaning"), ("a | ", 5, "is no pipe"),
    ("a | top 5", 10, "field's name is expected"), ("a | top 0 x", 9, "after top"), ("a | uniq", 9, "field's name"),
    ("a | top x | top y", 13, "top after stats"), ("a | sort by b | uniq c", 17, "uniq after sort"),
    ("a | sort b | sort c", 14, "sort after sort"), ("a | top x | sort by (y)", 13, "sort after top"),
    ("a | head 5", 5, "is no pipe"),
    ("\"\"", 1, "empty phrase"), ("*x:1", 1, "field's name"), ("é level:loud", 9, "is no level"),
    ("a\\", 2, "nothing after it"),
    ("| limit 0", 9, "no number from 1"), ("| limit x", 9, "no number from 1"),
    ("| sort by", 10, "field's name is expected"),
    ("| stats", 8, "function is expected"), ("| stats sum()", 9, "needs a field"),
    ("| stats magic(a)", 9, "no statistics function"),
    ("| stats count() per soon", 21, "no duration"), ("| stats count() | sort by nope", 27, "no column"),
    ("| stats count() x", 17, "unexpected text"), ("| limit 5 | limit 6", 13, "after limit"),
    ("| fields", 9, "field's name is expected"),
    ("| stats count() | stats count()", 19, "stats after"), ("| fields a | stats count()", 14, "stats after"),
    ("| stats count( by a", 19, "without ')'"), ("ms:>1*", 5, "'*' in a comparison"),
  ])
  func `a wrong query names the column and says what to do`(_ text: String, _ column: Int, _ part: String) {
    do {
      let query = try LogQuery.parse(text)
      Issue.record("\(text) was read as \(query)")
    } catch {
      #expect(error.column == column, "\(text): \(error)")
      #expect(error.message.contains(part), "\(text): \(error)")
      #expect(!error.hint.isEmpty)
    }
  }

  @Test func `queries beyond the limits are refused`() {
    for text in [
      String(repeating: "(", count: 5_000), String(repeating: "NOT ", count: 4_000),
      String(repeating: "-", count: 9_000) + "x",
      String(repeating: "a ", count: 1_001), String(repeating: "x", count: 600), String(repeating: "x ", count: 9_000),
      "f:" + String(repeating: "(", count: 5_000),
    ] {
      #expect(throws: LogQueryError.self) { try LogQuery.parse(text) }
    }
  }

  @Test func `100,000 mutations of queries parse or throw`() {
    let seed = Soak.seed("queries")
    let rounds = Soak.rounds(100_000)
    var random = SeededGenerator(seed: seed)
    let pieces = [
      "level:", "error", "(", ")", "\"", "*", "..", ">=", "<", "-", "NOT ", " OR ", " AND ", "|", " stats ", "count()",
      "p99(x)", " by ",
      " per ", "5m", "limit", "\\", ":", "é", "\u{0}", "250ms", "1Ki", " ", "fields ", "sort ", ",", "time:>2026-11",
      "/x/", "as y", "msg:/", "a+", "[^b", "]", "{2,3}", "/i", "top 5 x", "uniq",
    ]
    var parsed = 0
    for _ in 0..<rounds {
      var text = ""
      for _ in 0..<Int.random(in: 1...10, using: &random) { text += random.pick(pieces) }
      if (try? LogQuery.parse(text)) != nil { parsed += 1 }
    }
    #expect(parsed > rounds / 20 && parsed < rounds / 20 * 19, "seed \(seed): \(parsed) parsed")
  }
}
