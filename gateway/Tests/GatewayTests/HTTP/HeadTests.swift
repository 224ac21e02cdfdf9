import ClusterAPI
import ClusterModel
import NIOCore
import Testing

@testable import Gateway

/// What a reader made of a head.
struct ReadHead {
  var head = RequestHead()
  var lines = HeadLines(hasStartLine: true)
  var bytes: [UInt8] = []
  /// Nil when the head is not complete.
  var length: Int?
  var refusal: Refusal?

  /// Reads a head whose bytes come in pieces of one size.
  init(_ bytes: [UInt8], pieces: Int = .max) {
    self.bytes = bytes
    var end = 0
    do throws(Refusal) {
      while length == nil, end < bytes.count {
        end = bytes.count - end <= pieces ? bytes.count : end + pieces
        let result: Result<Int?, ParseFailure> = bytes.withUnsafeBytes { all in
          do throws(ParseFailure) {
            return .success(try lines.read(UnsafeRawBufferPointer(rebasing: all[..<end])))
          } catch { return .failure(error) }
        }
        switch result {
        case .success(let found): length = found
        case .failure(let error): throw Refusal(error)
        }
      }
      guard length != nil else { return }
      let checked: Result<Void, Refusal> = bytes.withUnsafeBytes { all in
        do throws(Refusal) { return .success(try head.check(lines, all)) } catch { return .failure(error) }
      }
      try checked.get()
    } catch { refusal = error }
  }

  init(_ text: String, pieces: Int = .max) { self.init(Array(text.utf8), pieces: pieces) }

  /// A head of a request line and fields.
  init(fields: [String], line: String = "POST / HTTP/1.1") {
    self.init(([line] + fields).map { $0 + "\r\n" }.joined() + "\r\n")
  }

  /// What a pod would get, line by line.
  func forwarded() -> [String] {
    String(decoding: forwardedBytes(), as: UTF8.self).split(separator: "\r\n").map(String.init)
  }

  /// What a pod would get; empty when the target is no function.
  func forwardedBytes() -> [UInt8] {
    var text = CallText()
    var random = LoopRandom()
    bytes.withUnsafeBytes { all in
      guard case .function(let parsed) = FunctionTarget.parse(all, head.target) else { return }
      text.writeHead(
        head, lines, parsed, all, client: ClientAddress("10.0.0.9", isTLS: false), at: .now(), using: &random)
    }
    return Array(text.bytes.readableBytesView)
  }
}

@Suite struct FunctionTargetTests {
  private func parse(_ target: String) -> FunctionTarget.Meaning {
    Array(target.utf8).withUnsafeBytes { FunctionTarget.parse($0, Span(start: 0, end: $0.count)) }
  }

  @Test(arguments: [
    ("/function/echo", "default", "echo", ""), ("/function/echo/", "default", "echo", "/"),
    ("/function/echo?x=1", "default", "echo", "?x=1"), ("/function/echo/a/b?q=%2F", "default", "echo", "/a/b?q=%2F"),
    ("/function/echo.team-a/a%2Fb", "team-a", "echo", "/a%2Fb"), ("/function/echo/../x", "default", "echo", "/../x"),
    ("/function/a-1.b//c", "b", "a-1", "//c"), ("/function/echo?/x", "default", "echo", "?/x"),
  ])
  func `function, namespace and the rest come out untouched`(
    target: String, namespace: String, function: String, rest: String
  ) {
    guard case .function(let parsed) = parse(target) else {
      Issue.record("\(target) was not understood")
      return
    }
    Array(target.utf8).withUnsafeBytes { bytes in
      #expect(parsed.namespace(bytes) == namespace)
      #expect(parsed.function(bytes) == function)
      #expect(parsed.rest.text(bytes) == rest)
      #expect(parsed.prefix.text(bytes) + rest == target)
      #expect(parsed.restPath.text(bytes) == rest.prefix { $0 != "?" })
    }
  }

  @Test(arguments: [
    "/", "/function", "/function/", "/function//x", "/function/Echo", "/function/-a", "/function/a-", "/function/a..b",
    "/function/a.", "/function/.a", "/function/a.b.c", "/function/ec%68o", "/functions/echo", "/x/function/echo",
    "/function/\(String(repeating: "a", count: 64))", "/healthz/", "/healthzz",
  ])
  func `everything else is unknown`(target: String) { #expect(parse(target) == .unknown) }

  @Test(arguments: ["", "function/echo", "*"])
  func `what is no path is malformed`(target: String) {
    if case .malformed = parse(target) { return }
    Issue.record("\(target) passed")
  }

  @Test func `health has a query or none`() {
    #expect(parse("/healthz") == .health)
    #expect(parse("/healthz?x") == .health)
  }
}

@Suite struct RequestHeadTests {
  private func code(_ fields: [String], line: String = "POST / HTTP/1.1") -> CallErrorCode? {
    ReadHead(fields: fields, line: line).refusal?.code
  }

  @Test func `framing is read in one way only`() {
    let host = "host: h"
    #expect(ReadHead(fields: [host]).head.framing == .none)
    #expect(ReadHead(fields: [host, "content-length: 12"]).head.framing == .length(12))
    #expect(ReadHead(fields: [host, "Transfer-Encoding: Chunked"]).head.framing == .chunked)
    for fields in [
      ["transfer-encoding: chunked", "content-length: 1"], ["transfer-encoding: gzip, chunked"],
      ["transfer-encoding: chunked", "transfer-encoding: chunked"], ["transfer-encoding: xchunked"],
      ["transfer-encoding: chunked, chunked"], ["transfer-encoding:"], ["content-length: +1"], ["content-length: -1"],
      ["content-length: 1, 1"], ["content-length: 1", "content-length: 1"], ["content-length: 0x10"],
      ["content-length:"], ["content-length: 9999999999999999999"], ["content-length: 1 1"],
    ] {
      #expect(code([host] + fields) == .badRequest, "\(fields)")
    }
    #expect(code([host, "transfer-encoding: chunked"], line: "POST / HTTP/1.0") == .badRequest)
  }

  @Test func `there is exactly one host`() {
    #expect(code([]) == .badRequest)
    #expect(code(["host: a", "Host: a"]) == .badRequest)
    #expect(code(["host: a b"]) == .badRequest)
    #expect(code(["host: a/b"]) == .badRequest)
    #expect(code([], line: "GET / HTTP/1.0") == nil)
    #expect(code(["host: [::1]:80"]) == nil)
  }

  @Test func `heads are bounded, wherever they are cut`() {
    let host = "host: h"
    #expect(code([host] + (0..<100).map { "x-\($0): 1" }) == .headTooLarge)
    #expect(code([host] + (0..<99).map { "x-\($0): 1" }) == nil)
    #expect(code([host, "x: " + String(repeating: "a", count: 33_000)]) == .headTooLarge)
    #expect(code([host], line: "GET /\(String(repeating: "a", count: 8192)) HTTP/1.1") == .uriTooLong)
    let endless = ReadHead("GET / HTTP/1.1\r\nhost: h\r\nx: " + String(repeating: "a", count: 33_000), pieces: 1000)
    #expect(endless.refusal?.code == .headTooLarge && endless.length == nil)
  }

  @Test(arguments: [
    ("CONNECT / HTTP/1.1", CallErrorCode.methodNotAllowed), ("TRACE / HTTP/1.1", .methodNotAllowed),
    ("GET / HTTP/2.0", .badRequest), ("GET / http/1.1", .badRequest), ("GET / HTTP/1.2", .badRequest),
    ("GET /", .badRequest), ("GET  / HTTP/1.1", .badRequest), ("GET / HTTP/1.1 ", .badRequest),
    (" GET / HTTP/1.1", .badRequest), ("GET / x HTTP/1.1", .badRequest), ("G\u{E9}T / HTTP/1.1", .badRequest),
    ("GET /a#b HTTP/1.1", .badRequest), ("GET /\u{E9} HTTP/1.1", .badRequest), ("GET\t/ HTTP/1.1", .badRequest),
    ("", .badRequest), ("GET", .badRequest),
  ])
  func `a request line that is none is refused`(line: String, expected: CallErrorCode) {
    #expect(code(["host: h"], line: line) == expected)
  }

  @Test(arguments: [
    "GET / HTTP/1.1\nhost: h\r\n\r\n", "GET / HTTP/1.1\r\nhost: h\n\r\n", "GET / HTTP/1.1\r\nhost: h\r\n\n",
    "GET / HTTP/1.1\r\nhost: h\rx: y\r\n\r\n", "GET / HTTP/1.1\r\nhost: h\r\n folded: 1\r\n\r\n",
    "GET / HTTP/1.1\r\nhost : h\r\n\r\n", "GET / HTTP/1.1\r\nhost: h\r\nx: a\u{0}b\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: h\r\n: v\r\n\r\n", "GET / HTTP/1.1\r\nhost: h\r\nnocolon\r\n\r\n",
    "GET / HTTP/1.1\r\nhost: h\r\nx y: v\r\n\r\n", "GET / HTTP/1.1\r\nhost: h\r\nx: \u{7F}\r\n\r\n",
  ])
  func `what breaks a rule of lines is refused, and at once`(text: String) {
    for pieces in [1, 2, 3, 7, 1000] {
      #expect(ReadHead(text, pieces: pieces).refusal?.code == .badRequest, "in pieces of \(pieces)")
    }
    // The fault is seen with the line it stands in: nobody waits for the end of the head.
    let cut = text.utf8.count - 1
    #expect(ReadHead(Array(text.utf8.prefix(cut))).refusal != nil || text.hasSuffix("\r\n\n"))
  }

  @Test func `an absolute target names the host, whatever Host says`() {
    let read = ReadHead(fields: ["host: other"], line: "GET HTTP://a.b:8080/function/x?y HTTP/1.1")
    read.bytes.withUnsafeBytes { bytes in
      #expect(read.head.host.text(bytes) == "a.b:8080")
      #expect(read.head.target.text(bytes) == "/function/x?y")
    }
    #expect(!ReadHead(fields: ["host: h"], line: "GET http://u@h/x HTTP/1.1").head.isAbsolute)
    #expect(!ReadHead(fields: ["host: h"], line: "GET http:///x HTTP/1.1").head.isAbsolute)
    #expect(code(["host: h"], line: "GET http://a\\b/ HTTP/1.1") == .badRequest)
  }

  @Test func `connections are kept as their version says`() {
    #expect(ReadHead(fields: ["host: h"]).head.keepAlive)
    #expect(!ReadHead(fields: ["host: h", "connection: x, Close"]).head.keepAlive)
    #expect(!ReadHead(fields: [], line: "GET / HTTP/1.0").head.keepAlive)
    #expect(ReadHead(fields: ["connection: Keep-Alive"], line: "GET / HTTP/1.0").head.keepAlive)
    #expect(ReadHead(fields: ["host: h", "upgrade: x"]).head.upgrade == nil)
    #expect(ReadHead(fields: ["host: h", "upgrade: x", "connection: Upgrade"]).head.upgrade != nil)
  }
}

@Suite struct HeaderRulesTests {
  private static let ours = [
    "host:", "x-call-id:", "traceparent:", "x-forwarded-prefix:", "x-forwarded-for:", "x-forwarded-host:",
    "x-forwarded-proto:", "forwarded:",
  ]

  private func passed(_ fields: [String]) -> [String] {
    ReadHead(fields: ["host: h"] + fields, line: "GET /function/echo HTTP/1.1").forwarded().dropFirst()
      .filter { line in !Self.ours.contains { line.hasPrefix($0) } }
  }

  @Test func `fields of the connection and ours do not pass`() {
    #expect(
      passed([
        "Connection: close, X-Secret, Host, Content-Length", "X-Secret: 1", "Keep-Alive: 5", "TE: trailers",
        "X-Apus-Deadline: 1", "x-apus-anything: 1", "X-Call-Id: c", "Accept: */*", "Upgrade: h2c",
        "Expect: 100-continue",
        "Proxy-Authorization: x", "Authorization: y", "Cookie: z",
      ]) == ["Accept: */*", "Authorization: y", "Cookie: z"])
  }

  @Test func `a name that CGI turns into one of ours is not passed`() {
    #expect(
      passed([
        "X_Forwarded_For: 6.6.6.6", "x_apus_deadline: 1", "X_Call_Id: a", "Content_Length: 3", "x_own: kept",
      ]) == ["x_own: kept"])
  }

  @Test func `the head says what came before, and nobody hides it`() {
    let lines = ReadHead(
      fields: [
        "host: h:8080", "x-forwarded-for: 1.1.1.1", "forwarded: for=1.1.1.1", "connection: x-forwarded-for",
        "x-call-id: mine", "a: 1", "b: 2", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
      ], line: "PUT /function/echo.default/x?y=1 HTTP/1.1"
    ).forwarded()
    #expect(
      lines == [
        "PUT /x?y=1 HTTP/1.1", "a: 1", "b: 2", "host: h:8080", "x-call-id: mine",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "x-forwarded-prefix: /function/echo.default", "x-forwarded-for: 1.1.1.1, 10.0.0.9", "x-forwarded-host: h:8080",
        "x-forwarded-proto: http", "forwarded: for=1.1.1.1, for=10.0.0.9;host=\"h:8080\";proto=http",
      ])
  }

  private func bytes<R>(_ text: String, _ body: (UnsafeRawBufferPointer) -> R) -> R {
    Array(text.utf8).withUnsafeBytes(body)
  }

  @Test(arguments: ["a", "A-1.b_c:d", String(repeating: "x", count: 64)])
  func `a good call id is kept`(id: String) { #expect(bytes(id) { HeaderRules.isCallID($0) }) }

  @Test(arguments: ["", "a b", "ä", "a/b", "a\n", String(repeating: "x", count: 65)])
  func `a bad call id is not`(id: String) { #expect(!bytes(id) { HeaderRules.isCallID($0) }) }

  @Test(arguments: [
    "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", "junk",
    "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
  ])
  func `a trace context that is none is not kept`(text: String) {
    #expect(!bytes(text) { HeaderRules.isTraceparent($0) })
  }

  @Test func `made ids and trace contexts are valid`() throws {
    var random = LoopRandom()
    var seen: Set<String> = []
    var spans: Set<Substring> = []
    let time = Timestamp(milliseconds: 1_763_000_000_123)
    for _ in 0..<1000 {
      let words = UUIDWords(at: time, using: &random)
      var out = ByteBuffer()
      out.write(room: 128) { $0.put(traceparent: words) }
      #expect(out.withUnsafeReadableBytes { HeaderRules.isTraceparent($0) })
      let trace = String(buffer: out).split(separator: "-")
      out.clear()
      out.write(room: 128) { $0.put(uuid: words) }
      let id = String(buffer: out)
      #expect(trace[1] == id.filter { $0 != "-" }, "the trace has the call's id")
      spans.insert(trace[2])
      #expect(id.wholeMatch(of: /[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/) != nil)
      #expect(id.hasPrefix(UUIDv7.make(at: time, using: &random).prefix(14)))
      seen.insert(id)
    }
    #expect(seen.count == 1000)
    #expect(spans.count == 1000)
  }

  @Test func `worker addresses are split`() {
    #expect(UpstreamPool.split("[::1]:6441")?.0 == "::1")
    #expect(UpstreamPool.split("host:6441")?.1 == 6441)
    #expect(UpstreamPool.split("host") == nil)
    #expect(UpstreamPool.split(":1") == nil)
  }
}
