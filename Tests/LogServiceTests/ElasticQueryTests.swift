import ClusterModel
import ClusterTestSupport
import LogIndex
import Testing

@testable import LogService

/// Elasticsearch's queries become texts of the query language: what each form becomes, and that all of them are queries.
@Suite("Elasticsearch queries") struct ElasticQueryTests {
  /// 2026-11-22T10:30:15.250Z
  static let now: Int64 = 1_795_343_415_250_000_000

  private func filter(_ json: String) throws -> String {
    let text = try ElasticQuery(now: Self.now).filter(try JSONValue(bytes: Array(json.utf8)))
    _ = try LogQuery.parse(text)
    return text
  }

  private func lucene(_ text: String, isAnd: Bool = false, fields: [String] = []) throws -> String {
    var parser = LuceneText(text, fields: fields, isAnd: isAnd, query: ElasticQuery(now: Self.now))
    let filter = try parser.filter()
    _ = try LogQuery.parse(filter)
    return filter
  }

  @Test(arguments: [
    (#"{"match_all":{}}"#, "*"),
    (#"{"match_none":{}}"#, "NOT *"),
    (#"{"term":{"user.id":"ann"}}"#, #""user.id":"ann""#),
    (#"{"term":{"user.id.keyword":{"value":"ann"}}}"#, #""user.id":"ann""#),
    (#"{"term":{"status":503}}"#, #""status":"503""#),
    (#"{"term":{"ok":true}}"#, #""ok":"true""#),
    (#"{"term":{"level":"WARNING"}}"#, #""level":warn"#),
    (#"{"term":{"level":"loud"}}"#, #"fields.level:"loud""#),
    (#"{"term":{"service.name":"shop"}}"#, #""function":"shop""#),
    (#"{"term":{"pod":"a\"b"}}"#, #"("pod":"a\"b" OR "fields.pod":"a\"b")"#),
    (#"{"terms":{"status":[500,502]}}"#, #"("status":"500") OR ("status":"502")"#),
    (#"{"match":{"message":"card declined!"}}"#, #"(msg:"card") OR (msg:"declined")"#),
    (#"{"match":{"message":{"query":"card declined","operator":"and"}}}"#, #"(msg:"card") AND (msg:"declined")"#),
    (#"{"match":{"user":"ann smith"}}"#, #""user":"ann smith""#),
    (#"{"match_phrase":{"message":"card declined"}}"#, #"msg:"card declined""#),
    (#"{"prefix":{"message":"pay"}}"#, #""message":pay*"#.replacing("message", with: "msg")),
    (#"{"prefix":{"path":"a*b\\c"}}"#, #""path":a\*b\\c*"#),
    (#"{"wildcard":{"path":{"value":"/api/*"}}}"#, #""path":\/api\/*"#),
    (#"{"exists":{"field":"user"}}"#, #""user":*"#),
    (#"{"exists":{"field":"@timestamp"}}"#, "*"),
    (#"{"range":{"duration_ms":{"gte":250,"lt":1e3}}}"#, #"("duration_ms":>=250) AND ("duration_ms":<1000)"#),
    (
      #"{"range":{"@timestamp":{"gte":"now-1h","lt":"now"}}}"#,
      #"("time":>="2026-11-22T09:30:15.250000000Z") AND ("time":<"2026-11-22T10:30:15.250000000Z")"#
    ),
    (
      #"{"bool":{"must":[{"term":{"a":1}}],"must_not":{"term":{"b":2}},"should":[{"term":{"c":3}}]}}"#,
      #"("a":"1") AND (NOT ("b":"2"))"#
    ),
    (#"{"bool":{"should":[{"term":{"a":1}},{"term":{"b":2}}]}}"#, #"("a":"1") OR ("b":"2")"#),
    (
      #"{"bool":{"filter":[{"term":{"a":1}}],"should":[{"term":{"b":2}},{"term":{"c":3}}],"minimum_should_match":1}}"#,
      #"("a":"1") AND (("b":"2") OR ("c":"3"))"#
    ),
    (#"{"bool":{}}"#, "*"),
    (#"{"constant_score":{"filter":{"term":{"a":"x"}}}}"#, #""a":"x""#),
    (#"{"query_string":{"query":"level:error AND \"card declined\""}}"#, #"("level":error) AND (msg:"card declined")"#),
  ])
  func `a query becomes a text of the query language`(_ json: String, _ text: String) throws {
    #expect(try filter(json) == text)
  }

  @Test func `a star in a prefix is a star`() throws {
    let query = try LogQuery.parse(try filter(#"{"prefix":{"path":"a*b"}}"#))
    for (path, matches) in [("a*b", true), ("a*bc", true), ("axb", false), ("a\\b", false)] {
      var record = PushRecord(time: Self.now, namespace: "app")
      record.add("path", text: path)
      #expect(query.matches(try record.line(), scope: .all) == matches, "\(path)")
    }
  }

  @Test(arguments: [
    ("timeout payment", #"(msg:"timeout") OR (msg:"payment")"#),
    ("level:(error OR warn)", #"("level":error) OR ("level":warn)"#),
    ("status:>=500", #""status":>=500"#),
    ("status:[400 TO 499}", #"("status":>=400) AND ("status":<499)"#),
    ("status:[400 TO *]", #""status":>=400"#),
    (
      "@timestamp:[2026-11-22 TO now]",
      #"("time":>="2026-11-22T00:00:00.000000000Z") AND ("time":<="2026-11-22T10:30:15.250000000Z")"#
    ),
    ("error NOT timeout", #"(msg:"error") AND (NOT (msg:"timeout"))"#),
    ("+error timeout -retry", #"(msg:"error") AND (NOT (msg:"retry"))"#),
    ("pay*", "msg:".isEmpty ? "" : #""msg":pay*"#),
    ("_exists_:user", #""user":*"#),
    ("user:*", #""user":*"#),
    ("*", "*"),
    ("*:*", "*"),
    (#"path:\/api\/orders"#, #""path":"/api/orders""#),
    (#"msg\:x:1^2"#, #""msg:x":"1""#),
    ("(a OR b) && !c", #"((msg:"a") OR (msg:"b")) AND (NOT (msg:"c"))"#),
  ])
  func `the text of a query_string is read as Lucene does`(_ text: String, _ expected: String) throws {
    #expect(try lucene(text) == expected)
  }

  @Test func `the default operator and fields are taken`() throws {
    #expect(try lucene("a b", isAnd: true) == #"(msg:"a") AND (msg:"b")"#)
    #expect(try lucene("ann", fields: ["user", "owner"]) == #"("user":"ann") OR ("owner":"ann")"#)
  }

  @Test(arguments: [
    (#"{"fuzzy":{"a":"b"}}"#, "parsing_exception"),
    (#"{"term":{"a":"b","c":"d"}}"#, "parsing_exception"),
    (#"{"range":{"user":{"gte":"ann"}}}"#, "illegal_argument_exception"),
    (#"{"range":{"@timestamp":{"gte":"yesterday"}}}"#, "parse_exception"),
    (#"{"wildcard":{"a":"b?c"}}"#, "illegal_argument_exception"),
    (#"{"query_string":{"query":"(a"}}"#, "query_shard_exception"),
    (#"{"query_string":{"query":"a~2"}}"#, "query_shard_exception"),
    (#"{"query_string":{"query":"\"open"}}"#, "query_shard_exception"),
    (#"{"bool":{"any":[]}}"#, "parsing_exception"),
  ])
  func `what is not done is refused with its reason`(_ json: String, _ type: String) throws {
    let error = #expect(throws: ElasticError.self) { try filter(json) }
    #expect(error?.status == 400 && error?.type == type, "\(String(describing: error))")
  }

  @Test func `queries too deep inside each other are refused`() throws {
    let deep =
      String(repeating: #"{"constant_score":{"filter":"#, count: 40) + #"{"match_all":{}}"#
      + String(repeating: "}}", count: 40)
    #expect(throws: ElasticError.self) { try filter(deep) }
    for sign in ["(", "!", "-", "NOT "] {
      #expect(throws: ElasticError.self, "\(sign)") { try lucene(String(repeating: sign, count: 100_000) + "a") }
    }
    #expect(try lucene("!!-a") == #"NOT (NOT (NOT (msg:"a")))"#)
    let long = String(repeating: "a", count: LuceneText.bytesMaximum + 1)
    #expect(throws: ElasticError.self) { try filter(#"{"query_string":{"query":"\#(long)"}}"#) }
  }

  @Test func `no text of a query_string makes a query that the language does not take, or a trap`() throws {
    var random = SeededGenerator(seed: 7)
    let pieces = [
      "a", "level:", "error", "(", ")", "\"", " ", "AND ", "OR ", "NOT ", "+", "-", "[1 TO 5]", "*", "\\", ">=3",
      "x:", "~", "^2", "{", "]", "@timestamp:", "now-1d/d", "ü", "|", "..", "/",
    ]
    for _ in 0..<20_000 {
      let text = (0..<Int.random(in: 1...9, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }
        .joined()
      var parser = LuceneText(text, fields: [], isAnd: false, query: ElasticQuery(now: Self.now))
      let filter: String
      do { filter = try parser.filter() } catch { continue }
      #expect(throws: Never.self, "\(text) → \(filter)") { try LogQuery.parse(filter) }
    }
  }

  @Test(arguments: [
    ("2026-11-22T10:30:15.25Z", "2026-11-22T10:30:15.250Z"), ("2026-11-22", "2026-11-22T00:00:00.000Z"),
    ("2026-11-22T10:30", "2026-11-22T10:30:00.000Z"), ("2026-11-22 10:30:15", "2026-11-22T10:30:15.000Z"),
    ("2026-11", "2026-11-01T00:00:00.000Z"), ("2026", "2026-01-01T00:00:00.000Z"),
    ("2026-11-22T10:30:15+0100", "2026-11-22T09:30:15.000Z"), ("1795343415250", "2026-11-22T10:30:15.250Z"),
    ("now", "2026-11-22T10:30:15.250Z"), ("now/d", "2026-11-22T00:00:00.000Z"),
    ("now-1M/M", "2026-10-01T00:00:00.000Z"), ("now/w", "2026-11-16T00:00:00.000Z"),
    ("2026-03-31||-1M", "2026-02-28T00:00:00.000Z"), ("now+1y/y", "2027-01-01T00:00:00.000Z"),
  ])
  func `times are read in Elasticsearch's forms`(_ text: String, _ expected: String) throws {
    let time = try #require(ElasticTime.parse(.string(text), now: Self.now))
    #expect(ElasticTime.text(time) == expected)
  }

  @Test func `rounding goes to the end of the unit where that is meant, and nonsense is no time`() {
    let end = ElasticTime.parse(.string("now/d"), now: Self.now, roundsUp: true)
    #expect(end.map(ElasticTime.text) == "2026-11-22T23:59:59.999999999Z")
    #expect(ElasticTime.parse(.int(1_795_343_415), format: "epoch_second", now: 0) == 1_795_343_415_000_000_000)
    for text in [
      "", "now-", "now-5", "now/5d", "now*2d", "soon", "now-9999999999y", "2026-13-01", "9223372036854||/w",
      "-9223372036854",
      "now+260y", "2261-07-01||+1M",
    ] {
      #expect(ElasticTime.parse(.string(text), now: Self.now) == nil, "\(text)")
    }
    for number in [Int64.max, .min, 9_223_372_036_854, -9_223_372_036_854] {
      #expect(ElasticTime.parse(.int(number), now: 0) == nil, "\(number)")
    }
  }
}
