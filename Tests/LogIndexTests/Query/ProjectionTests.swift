import Testing

@testable import LogIndex

@Suite struct ProjectionTests {

  @Test(arguments: [
    ("| fields level, b", #"{"level":"info","fields":{"b":1.50}}"#), ("| fields b", #"{"fields":{"b":1.50}}"#),
    ("| fields (msg, nope)", #"{"msg":"a\u0041"}"#), ("| fields nope", "{}"),
    ("| fields b, call, fields.level", #"{"call":"","fields":{"b":1.50,"level":"x"}}"#),
  ])
  func `records are cut down to fields`(_ text: String, _ expected: String) throws {
    let fields = try #require(try LogQuery.parse(text).fields)
    let record = try IndexedRecord(line(#"a\u0041"#, fields: #""b":1.50,"level":"x""#))
    #expect(String(decoding: LogProjection(fields: fields).apply(record), as: UTF8.self) == expected)
  }
}
