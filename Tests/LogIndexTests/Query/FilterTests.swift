import Testing

@testable import LogIndex

/// One line of docs/log-query.md each: a query, and whether it matches a record.
@Suite struct FilterTests {
  static let record = line(
    "Payment of order/1234 failed: connection refused, Größe 3", function: "order-api", level: "error",
    stream: "stderr",
    call: "c-1",
    fields:
      #""duration_ms":250,"took":"1m30s","status":500,"size":2048,"cached":true,"user":"ann","empty":"","nothing":null"#
      + #","path":"/api/orders","level":"own","id":9007199254740993,"fields.x":"deep","http":{"method":"GET"},"a b":1"#)

  @Test(arguments: [
    ("", true), ("*", true),
    ("payment", true), ("PAYMENT", true), ("pay", false), ("pay*", true), ("*ment", true), ("p*t", true),
    ("p*f", false),
    ("order/*", true), ("o*4", true), ("order", true), ("1234", true), ("123", false), ("größe", true),
    ("GRÖSSE", false),
    ("\"connection refused\"", true), ("\"Connection Refused\"", true), ("\"connection ref\"", false), ("conn*", true),
    ("\"refused connection\"", false), ("connection refused", true), ("refused connection", true), ("*fus*", true),
    ("msg:payment", true), ("msg:\"connection refused\"", true), ("msg:pay*", true), ("msg:(payment failed)", true),
    ("level:error", true), ("level:ERROR", true), ("level:warn", false), ("level:(error OR warn)", true),
    ("level:>=warn", true), ("level:>error", false), ("level:<=error", true), ("level:<error", false),
    ("level:warn..fatal", true), ("level:e*", true), ("level:*", true),
    ("function:order-api", true), ("function:order", false), ("function:order*", true), ("function:Order-api", false),
    ("function:*", true), ("call:c-1", true), ("stream:stderr", true), ("namespace:default", true),
    ("duration_ms:250", true), ("duration_ms:250.0", true), ("duration_ms:>250", false), ("duration_ms:>=250", true),
    ("duration_ms:<251", true), ("duration_ms:>249ms", true), ("duration_ms:>=0.25s", true),
    ("duration_ms:>0.25s", false),
    ("duration_ms:250ms", true), ("duration_ms:200..300", true), ("duration_ms:0.2s..0.3s", true),
    ("duration_ms:1..2", false),
    ("took:>1m", true), ("took:>2m", false), ("took:1m30s", true), ("took:>60", false),
    ("size:2Ki..4Ki", true), ("size:>2k", true), ("size:>=1Mi", false),
    ("status:500", true), ("status:>=500", true), ("status:(404 OR 500)", true), ("status:(>=400 <500)", false),
    ("status:(-5 OR 500)", true), ("status:(NOT 404)", true), ("status:(-x)", true),
    ("cached:true", true), ("user:ann", true), ("user:Ann", false), ("user:a*", true), ("user:*n*", true),
    ("user:n*", false),
    ("user:*", true), ("empty:*", false), ("nothing:*", false), ("absent:*", false), ("empty:\"\"", true),
    ("absent:\"\"", true), ("user:\"\"", false),
    ("path:/api/orders", true), ("path:/api/*", true), ("path:\"/api/orders\"", true), ("path:*orders", true),
    ("fields.level:own", true), ("level:own*", false), ("fields.fields.x:deep", true), ("http.method:GET", true),
    ("\"a b\":1", true), ("id:9007199254740993", true), ("id:9007199254740992", false),
    ("NOT payment", false), ("-payment", false), ("NOT absent:x", true), ("--payment", true), ("NOT NOT payment", true),
    ("payment AND level:error", true), ("payment level:info", false), ("nope OR level:error", true),
    ("nope OR payment level:info", false), ("(nope OR payment) level:error", true), ("NOT nope payment", true),
    ("NOT (nope OR payment)", false), ("a OR b OR payment", true), ("\"NOT\"", false), ("not", false),
    ("time:>=2026-11-20", true), ("time:>2026-11-20T00:00:00Z", false), ("time:<2026-11-20T00:00:00.000000001Z", true),
    ("time:2026-11-19..2026-11-20", true), ("time:2026-11-20T00:00:00Z", true), ("payment | limit 5", true),
    ("failed\\:", true), ("\"order/1234 failed\"", true), ("rder/1234", false),
  ])
  func `a query means what the page says`(_ text: String, _ expected: Bool) throws {
    let query = try LogQuery.parse(text)
    #expect(query.matches(Self.record, scope: .all) == expected)
  }

  @Test(arguments: [
    ("a*b", "a x ab", true), ("*a*b", "a x ab", true), ("a*b*c", "abxc", true), ("a*b*c", "ab xc", false),
    ("aa*b", "aaab", true), ("a*b", "ac ab", true), ("x*yz", "xyyz", true), ("x*y", "xyz xay", true), ("*", "", true),
    ("a**b", "ab", true), ("foo*bar", "foobarbaz", false), ("foo*bar", "foobarbaz foobar", true), ("-1*", "-1", false),
  ])
  func `stars in words stand for runs without white space`(_ pattern: String, _ msg: String, _ expected: Bool) throws {
    #expect(try LogQuery.parse(pattern).matches(line(msg), scope: .all) == expected)
  }

  @Test func `a scope hides other namespaces`() throws {
    let query = try LogQuery.parse("payment")
    #expect(query.matches(Self.record, scope: LogScope(namespaces: ["default"])))
    #expect(!query.matches(Self.record, scope: LogScope(namespaces: ["other"])))
    #expect(!query.matches(Self.record, scope: LogScope(namespaces: [])))
  }

  @Test func `a repetitive message and pattern do not take for ever`() throws {
    let query = try LogQuery.parse("a*a*a*a*a*b")
    let record = try IndexedRecord(line(String(repeating: "a", count: 200_000)))
    let time = ContinuousClock().measure { #expect(!query.matches(record, scope: .all)) }
    #expect(time < .seconds(10))
  }
}
