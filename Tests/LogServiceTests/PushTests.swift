import CZlib
import ClusterModel
import ClusterTestSupport
import Foundation
import LogIndex
import Testing

@testable import LogService

/// What other systems send becomes records: Loki's streams, OpenTelemetry's logs, Elasticsearch's documents.
@Suite("Pushed records") struct PushTests {
  private static let now = Timestamp(nanoseconds: 1_795_343_415_250_000_000)

  private func decoded(_ record: PushRecord) throws -> LogRecord {
    try JSONDecoder().decode(LogRecord.self, from: Data(try record.line()))
  }

  // MARK: Masks

  @Test func `secrets are masked in what each protocol brings, and the rest keeps its spelling`() throws {
    let loki = try LokiPush(
      Array(
        (#"{"streams":[{"stream":{"app":"shop","api_key":"k1"},"values":["#
          + #"["1","login password=hunter2 ok",{"url":"redis://a:pa55@c"}],"#
          + #"["2","\nghp_0123456789abcdefABCDEF0123456789abcd"]]}]}"#).utf8), tenant: nil)
    let otlp = try OTLPLogs(
      Array(
        (#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"Authorization: Bearer abc.def"},"#
          + #""attributes":[{"key":"db.password","value":{"intValue":"7"}},{"key":"n","value":{"doubleValue":1.50}}]}]}]}]}"#)
          .utf8), now: Self.now)
    let document =
      #"{"message":"to postgres://shop:pa55@db/x","user":{"secret":"s3","n":1.0},"n":1e2,"odd":[1.0,"Bearer 0123456789"]}"#
    let bulk = try ElasticBulk(
      Array("{\"index\":{\"_index\":\"app\"}}\n\(document)\n".utf8), index: nil, now: 0)
    var lines = LogAdapters.lines(loki.records + otlp.records, .standard).lines
    for item in bulk.items { lines.append(try item.line.get()) }
    let texts = lines.map { String(decoding: $0, as: UTF8.self) }
    for secret in ["hunter2", "k1", "pa55", "ghp_0123", "abc.def", "s3", "0123456789"] {
      #expect(!texts.contains { $0.contains(secret) }, "\(secret) in \(texts)")
    }
    #expect(texts[0].contains("login password=*** ok") && texts[0].contains("redis://a:***@c"))
    #expect(texts[2].contains("Bearer ***") && texts[2].contains("\"db.password\":\"***\""))
    #expect(texts[3].contains("postgres://shop:***@db/x") && texts[3].contains("\"n\":1e2"))
    let own = LogAdapters.lines(loki.records, try LogMasks(file: "ok$")).lines.map {
      String(decoding: $0, as: UTF8.self)
    }
    #expect(own.count == 2 && own[0].contains("password=*** ***"))
    let off = LogAdapters.lines(loki.records, .off).lines
    #expect(String(decoding: off[0], as: UTF8.self).contains("hunter2"))
  }

  @Test func `what is too long is refused before it is searched for secrets`() throws {
    // Masked it would be short.
    let message = "-----BEGIN RSA PRIVATE KEY-----" + String(repeating: "x", count: 256 * 1024)
    var record = PushRecord(time: 1, namespace: "n")
    record.message = message
    let (lines, faults) = LogAdapters.lines([record], .standard)
    #expect(lines.isEmpty && faults.count == 1)
    #expect(faults.first?.description.contains("bytes are too long") == true)
    let bulk = try ElasticBulk(
      Array("{\"index\":{\"_index\":\"app\"}}\n{\"message\":\"\(message)\"}\n".utf8), index: nil, now: 0)
    #expect(throws: ElasticError.self) { try bulk.items[0].line.get() }
  }

  // MARK: JSON

  @Test func `JSON is taken strictly, and keeps its spelling`() throws {
    let text =
      "{\"a\": [1.0, -0, 1e400,\n \"x\\u00e9\\n\"], \"b\": {\"c\": null, \"c\": true}, \"d\":12345678901234567890}"
    let value = try #require(JSONSlice(Array(text.utf8)))
    #expect(value.members.map(\.key) == ["a", "b", "d"])
    #expect(
      value["a"]?.items.map { String(decoding: $0.bytes, as: UTF8.self) } == ["1.0", "-0", "1e400", "\"x\\u00e9\\n\""])
    #expect(value["a"]?.items.last?.string == "xé\n")
    #expect(value["b"]?["c"]?.kind == .bool)
    #expect(value["d"]?.text == "12345678901234567890")
    var line: [UInt8] = []
    value["a"]?.append(to: &line)
    #expect(String(decoding: line, as: UTF8.self) == "[1.0, -0, 1e400, \"x\\u00e9\\n\"]")
    for wrong in [
      "", "{", "{}x", "[1,]", "{\"a\"}", "01", "1.", "-", "\"\u{1}\"", "\"\\x\"", "\"\\u12\"", "nul", "{\"a\":1,}",
      "\"open",
      String(repeating: "[", count: 100_000),
    ] { #expect(JSONSlice(Array(wrong.utf8)) == nil, "\(wrong.prefix(20))") }
  }

  @Test func `no bytes trap the reader, and what it takes Foundation takes too`() throws {
    var random = SeededGenerator(seed: 11)
    let seed = Array(#"{"a":[1,2.5e3,{"b":"x\u00fcy"}],"c":null,"d":true,"e":"\\\"/"}"#.utf8)
    for _ in 0..<20_000 {
      var bytes = seed
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0x20...0x7E, using: &random)
      }
      guard let value = JSONSlice(bytes) else { continue }
      _ = value.members.map { ($0.key, $0.value.members, $0.value.items, $0.value.text) }
      #expect(throws: Never.self, "\(String(decoding: bytes, as: UTF8.self))") {
        try JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)
      }
    }
  }

  // MARK: gzip

  private func gzip(_ bytes: [UInt8]) -> [UInt8] {
    var stream = z_stream()
    deflateInit2_(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    defer { deflateEnd(&stream) }
    let room = bytes.count + 1000
    return [UInt8](unsafeUninitializedCapacity: room) { target, count in
      bytes.withUnsafeBufferPointer { source in
        stream.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
        stream.avail_in = UInt32(bytes.count)
        stream.next_out = target.baseAddress
        stream.avail_out = UInt32(room)
        deflate(&stream, Z_FINISH)
      }
      count = room - Int(stream.avail_out)
    }
  }

  @Test func `gzip is undone within its bound, member by member, and damage is told`() throws {
    let plain = (0..<200_000).flatMap { Array("line \($0 % 977)\n".utf8) }
    let packed = gzip(plain)
    #expect(try Gunzip.bytes(packed, upTo: plain.count) == plain)
    #expect(try Gunzip.bytes(packed + gzip([1, 2, 3]), upTo: plain.count + 3) == plain + [1, 2, 3])
    #expect(throws: Gunzip.Fault.tooLong) { try Gunzip.bytes(packed, upTo: plain.count - 1) }
    #expect(throws: Gunzip.Fault.damaged) { try Gunzip.bytes(Array(packed.dropLast(9)), upTo: plain.count) }
    #expect(throws: Gunzip.Fault.damaged) { try Gunzip.bytes(plain, upTo: plain.count) }
    #expect(throws: Gunzip.Fault.damaged) { try Gunzip.bytes([], upTo: 10) }
  }

  // MARK: Loki

  @Test func `a stream's labels say what its lines belong to`() throws {
    let body = """
      {"streams":[{"stream":{"service_name":"shop","env":"prod","level":"warn","namespace":"web"},"values":[
        ["1795343415250000001","card declined"],
        ["1795343415250000002","{\\"a\\":1}",{"trace_id":"0af7","level":"error","call":"c-1"}]]},
       {"stream":{},"values":[["1795343415250000003",""]]}]}
      """
    let push = try LokiPush(Array(body.utf8), tenant: "team")
    let records = try push.records.map(decoded)
    #expect(records.map(\.namespace) == ["web", "web", "team"])
    #expect(records.map(\.function) == ["shop", "shop", ""])
    #expect(records.map(\.level) == [.warn, .error, .info])
    #expect(records.map(\.msg) == ["card declined", "{\"a\":1}", ""])
    #expect(records.map(\.time.nanoseconds) == (1...3).map { 1_795_343_415_250_000_000 + $0 })
    #expect(records[1].call == "c-1")
    #expect(
      records[1].fields == ["service_name": .string("shop"), "env": .string("prod"), "trace_id": .string("0af7")])
    #expect(records[0].stream == .stdout && records[0].pod.isEmpty)
  }

  @Test(arguments: [
    ("nothing", "the body is not JSON"), ("{}", "the body has no list `streams`"),
    (#"{"streams":[{"stream":{}}]}"#, "streams[0] has no list `values`"),
    (#"{"streams":[{"stream":[],"values":[]}]}"#, "streams[0].stream is not an object"),
    (
      #"{"streams":[{"stream":{},"values":[[1,"x"]]}]}"#,
      "streams[0].values[0] is not [\"nanoseconds since 1970\", \"line\"]"
    ),
    (#"{"streams":[{"stream":{},"values":[["1",2]]}]}"#, "streams[0].values[0][1] is not a text"),
  ])
  func `a wrong push is told where`(_ body: String, _ fault: String) throws {
    let error = #expect(throws: PushFault.self) { try LokiPush(Array(body.utf8), tenant: nil) }
    #expect(error?.description == fault)
  }

  @Test(arguments: [Int64.min, -9_223_372_036_854_000_000, -9_200_000_000_000_000_001, 9_210_000_000_000_000_000, .max])
  func `a time that no record can have is told of that record`(_ time: Int64) throws {
    let push = try LokiPush(Array(#"{"streams":[{"values":[["\#(time)","x"],["1","y"]]}]}"#.utf8), tenant: nil)
    let (lines, faults) = LogAdapters.lines(push.records, .standard)
    #expect(lines.count == 1 && faults.map(\.description) == ["the time lies outside the years 1678 to 2261"])
    let document = #"{"@timestamp":\#(time / 1_000_000 * 1_000_000 == time ? time / 1_000_000 : .max),"message":"x"}"#
    let bulk = try ElasticBulk(Array("{\"index\":{\"_index\":\"app\"}}\n\(document)\n".utf8), index: nil, now: 0)
    #expect(throws: ElasticError.self) { try bulk.items[0].line.get() }
  }

  // MARK: OTLP

  @Test func `resource, scope and record of OpenTelemetry become one record`() throws {
    let body = """
      {"resourceLogs":[{"resource":{"attributes":[
         {"key":"service.name","value":{"stringValue":"shop"}},{"key":"service.namespace","value":{"stringValue":"web"}},
         {"key":"host.name","value":{"stringValue":"h1"}}]},
       "scopeLogs":[{"scope":{"name":"lib"},"logRecords":[
        {"timeUnixNano":"1795343415250000001","severityNumber":17,"severityText":"Error","body":{"stringValue":"boom"},
         "attributes":[{"key":"n","value":{"intValue":"12345678901"}},{"key":"r","value":{"doubleValue":1.50}},
           {"key":"list","value":{"arrayValue":{"values":[{"intValue":"1"},{"boolValue":true}]}}},
           {"key":"map","value":{"kvlistValue":{"values":[{"key":"k","value":{"stringValue":"v"}}]}}}],
         "traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174"},
        {"observedTimeUnixNano":1795343415250000002,"severityText":"warning",
         "body":{"kvlistValue":{"values":[{"key":"message","value":{"stringValue":"hi"}},{"key":"x","value":{"intValue":5}}]}}},
        {"body":{"intValue":"7"}}]}]}]}
      """
    let logs = try OTLPLogs(Array(body.utf8), now: Self.now)
    let records = try logs.records.map(decoded)
    #expect(records.map(\.function) == ["shop", "shop", "shop"] && records.map(\.namespace) == ["web", "web", "web"])
    #expect(records.map(\.level) == [.error, .warn, .info])
    #expect(records.map(\.msg) == ["boom", "hi", "7"])
    #expect(
      records.map(\.time.nanoseconds)
        == [1_795_343_415_250_000_001, 1_795_343_415_250_000_002, Self.now.nanoseconds])
    let fields = records[0].fields
    #expect(fields["host.name"] == .string("h1") && fields["scope"] == .string("lib"))
    #expect(fields["n"] == .int(12_345_678_901) && fields["r"] == .double(1.5))
    #expect(fields["list"] == .array([.int(1), .bool(true)]) && fields["map"] == .object(["k": .string("v")]))
    #expect(fields["trace_id"] == .string("5b8efff798038103d269b633813fc60c"))
    #expect(fields["span_id"] == .string("eee19b7ec3c1b174") && fields["service.name"] == nil)
    #expect(records[1].fields["x"] == .int(5))
    let line = String(decoding: try logs.records[0].line(), as: UTF8.self)
    #expect(line.contains("\"r\":1.50"), "numbers keep their spelling: \(line)")
    #expect(try OTLPLogs(Array("{}".utf8), now: Self.now).records.isEmpty)
    #expect(throws: PushFault.self) { try OTLPLogs(Array("[]".utf8), now: Self.now) }
  }

  // MARK: Documents

  @Test(arguments: [
    #"{"@timestamp":"2026-11-22T10:30:15.250Z","message":"card declined","level":"error","service":{"name":"shop"},"n":1.50}"#,
    #"{"@timestamp":1795343415250,"message":"x","level":"WARNING","function":"f","big":12345678901234567890}"#,
    #"{"@timestamp":"2026-11-22T11:30:15.250+01:00","message":"","log":{"level":"error"},"service.name":"s","pod":"p"}"#,
    #"{"@timestamp":"2026-11-22T10:30:15.250Z","message":["no","text"],"level":"error","namespace":"theirs","call":"c-1"}"#,
  ])
  func `a document comes back as it was sent`(_ text: String) throws {
    let document = try #require(JSONSlice(Array(text.utf8)))
    let record = try ElasticDocument.record(document, index: "app", id: "id-1", now: 0)
    #expect(record.time == 1_795_343_415_250_000_000)
    let hit = try #require(ElasticDocument.hit(try record.line(), time: record.time))
    #expect(hit.index == "app" && hit.id == "id-1")
    let source = try #require(JSONSlice(hit.source))
    let (sent, back) = (document.members, source.members)
    for (key, value) in sent where key != "message" || value.string != "" {
      #expect(
        back.first { $0.key == key }?.value.bytes == value.bytes,
        "\(key) of \(String(decoding: hit.source, as: UTF8.self))")
    }
    #expect(Set(back.map(\.key)).subtracting(sent.map(\.key)).isSubset(of: ["level"]))
    #expect(Set(back.map(\.key)).count == back.count)
  }

  @Test func `a function's own record is a document, too`() throws {
    let record = LogRecord(
      time: Self.now, namespace: "default", function: "shop", revision: "shop-00001", pod: "shop-00001-x", node: "w1",
      stream: .stderr, level: .error, call: "c-1", msg: "boom", fields: ["user": .string("ann")])
    let hit = try #require(
      ElasticDocument.hit(Array(try JSONEncoder().encode(record)), time: record.time.nanoseconds))
    let value = try JSONValue(bytes: hit.source)
    #expect(value["@timestamp"] == .string("2026-11-22T10:30:15.250Z") && value["message"] == .string("boom"))
    #expect(value["pod"] == .string("shop-00001-x") && value["user"] == .string("ann") && hit.index == "default")
  }

  @Test func `a bulk is taken item by item`() throws {
    let long = String(repeating: "x", count: 300_000)
    let body = """
      {"index":{"_index":"app","_id":7}}
      {"message":"one"}
      {"create":{}}
      {"message":"two"}
      {"delete":{"_id":"1"}}
      {"index":{"_index":"App"}}
      {"message":"bad index"}
      {"index":{}}
      {"message":"\(long)"}
      {"index":{}}
      {"@timestamp":"soon"}
      {"update":{"_id":"1"}}
      {"doc":{}}

      """
    let bulk = try ElasticBulk(Array(body.utf8), index: "fallback", now: 5)
    let types = bulk.items.map { item -> String in
      switch item.line {
      case .success: "ok"
      case .failure(let error): error.type
      }
    }
    #expect(
      types == [
        "ok", "ok", "illegal_argument_exception", "invalid_index_name_exception", "document_parsing_exception",
        "document_parsing_exception", "illegal_argument_exception",
      ])
    #expect(bulk.items[0].id == "7" && bulk.items[1].index == "fallback")
    for wrong in ["", "{}\n", "{\"index\":{}}\n", "{\"index\":{}}\n{}", "{\"put\":{}}\n{}\n"] {
      #expect(throws: ElasticError.self) { try ElasticBulk(Array(wrong.utf8), index: "x", now: 0) }
    }
    #expect(throws: ElasticError.self) { try ElasticBulk(Array("{\"index\":{}}\n{}\n".utf8), index: nil, now: 0) }
  }

  @Test func `a document is cut down to what _source asks for`() throws {
    let source = Array(#"{"a":{"b":1,"c":2},"d":3,"list":[{"x":1}]}"#.utf8)
    func cut(_ json: String) throws -> JSONValue {
      try JSONValue(bytes: try ElasticSource(try JSONValue(bytes: Array(json.utf8))).cut(source))
    }
    #expect(try cut(#"["a.b"]"#) == .object(["a": .object(["b": .int(1)])]))
    #expect(try cut(#""a.*""#) == .object(["a": .object(["b": .int(1), "c": .int(2)])]))
    #expect(try cut(#"["a","d"]"#) == .object(["a": .object(["b": .int(1), "c": .int(2)]), "d": .int(3)]))
    #expect(try cut(#"{"excludes":["a.b","list"]}"#) == .object(["a": .object(["c": .int(2)]), "d": .int(3)]))
    #expect(try cut(#"{"includes":["a"],"excludes":["*.c"]}"#) == .object(["a": .object(["b": .int(1)])]))
    #expect(try ElasticSource(.bool(false)).isWanted == false)
  }
}
