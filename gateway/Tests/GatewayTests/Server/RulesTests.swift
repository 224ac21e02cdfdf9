import ClusterAPI
import ClusterTestSupport
import NIOHTTP1
import Testing

@testable import Gateway

@Suite struct FunctionTargetTests {
  private func read(_ target: String) -> FunctionTarget? {
    if case .function(let parsed) = FunctionTarget.parse(target) { return parsed }
    return nil
  }

  @Test(arguments: [
    ("/function/echo", "default", "echo", "/"), ("/function/echo/", "default", "echo", "/"),
    ("/function/echo?x=1", "default", "echo", "/?x=1"), ("/function/echo/a/b?q=%2F", "default", "echo", "/a/b?q=%2F"),
    ("/function/echo.team-a/a%2Fb", "team-a", "echo", "/a%2Fb"), ("/function/echo/../x", "default", "echo", "/../x"),
    ("/function/a-1.b//c", "b", "a-1", "//c"), ("/function/echo?/x", "default", "echo", "/?/x"),
  ])
  func `function, namespace and the rest come out untouched`(
    target: String, namespace: String, function: String, path: String
  ) {
    let parsed = read(target)
    #expect(parsed?.namespace == namespace)
    #expect(parsed?.function == function)
    #expect(parsed?.path == path)
    #expect(parsed.map { target.hasPrefix($0.prefix) } == true)
  }

  @Test(arguments: [
    "/", "/function", "/function/", "/function//x", "/function/Echo", "/function/-a", "/function/a-", "/function/a..b",
    "/function/a.", "/function/.a", "/function/a.b.c", "/function/ec%68o", "/functions/echo", "/x/function/echo",
    "/function/\(String(repeating: "a", count: 64))",
  ])
  func `everything else is unknown`(target: String) { #expect(FunctionTarget.parse(target) == .unknown) }

  @Test(arguments: ["", "function/echo", "*", "/function/echo x", "/function/echo#f", "/function/\u{7F}", "/é"])
  func `what is no target is malformed`(target: String) {
    if case .malformed = FunctionTarget.parse(target) { return }
    Issue.record("\(target) passed")
  }

  @Test func `absolute targets are split`() {
    let split = FunctionTarget.splitAbsolute("HTTP://a.b:8080/function/x?y")
    #expect(split?.host == "a.b:8080")
    #expect(split?.target == "/function/x?y")
    #expect(FunctionTarget.splitAbsolute("https://h?q")?.target == "/?q")
    #expect(FunctionTarget.splitAbsolute("http://u@h/") == nil)
    #expect(FunctionTarget.splitAbsolute("http:///x") == nil)
    #expect(FunctionTarget.splitAbsolute("/function/x") == nil)
  }

  @Test func `a hundred thousand mutated targets: no trap, and what passes is what was sent`() {
    var random = SeededGenerator(seed: Soak.seed("targets"))
    let seeds = [
      "/function/echo.default/a/b?x=%20", "/healthz?x", "http://host:80/function/a-b.c/", "/function/a?b/c?d", "*",
    ].map { Array($0.utf8) }
    for _ in 0..<Soak.rounds(100_000) {
      var bytes = seeds.randomElement(using: &random) ?? []
      mutate(&bytes, &random)
      let target = String(decoding: bytes, as: UTF8.self)
      let origin = FunctionTarget.splitAbsolute(target)?.target ?? target
      if case .function(let parsed) = FunctionTarget.parse(origin) {
        let rest = parsed.path.hasPrefix("/?") && !origin.contains("/?") ? String(parsed.path.dropFirst()) : parsed.path
        let joined = parsed.prefix + (origin == parsed.prefix ? "" : rest)
        #expect(joined == origin || parsed.prefix + parsed.path.dropFirst() == origin, "seed \(random.seed): \(origin)")
        #expect(parsed.path.hasPrefix("/"))
        #expect(!parsed.function.isEmpty && !parsed.namespace.isEmpty)
        #expect(parsed.path.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F })
      }
    }
  }
}

/// Flips, inserts, removes and doubles bytes.
func mutate(_ bytes: inout [UInt8], _ random: inout SeededGenerator) {
  for _ in 0..<Int.random(in: 1...4, using: &random) {
    let position = Int.random(in: 0...bytes.count, using: &random)
    switch Int.random(in: 0..<4, using: &random) {
    case 0: bytes.insert(UInt8.random(in: 0...255, using: &random), at: position)
    case 1: if position < bytes.count { bytes.remove(at: position) }
    case 2: if position < bytes.count { bytes[position] = UInt8.random(in: 0...255, using: &random) }
    default:
      let end = min(bytes.count, position + Int.random(in: 0...8, using: &random))
      bytes.insert(contentsOf: bytes[position..<end], at: position)
    }
  }
}

@Suite struct RequestRulesTests {
  private func head(
    _ fields: [(String, String)], method: HTTPMethod = .POST, version: HTTPVersion = .http1_1, uri: String = "/"
  ) -> HTTPRequestHead {
    HTTPRequestHead(version: version, method: method, uri: uri, headers: HTTPHeaders(fields))
  }

  private func refusal(_ head: HTTPRequestHead) -> CallErrorCode? {
    do {
      _ = try RequestRules.check(head)
      return nil
    } catch { return error.code }
  }

  @Test func `framing is read in one way only`() throws {
    let host = ("host", "h")
    #expect(try RequestRules.check(head([host])).framing == .none)
    #expect(try RequestRules.check(head([host, ("content-length", "12")])).framing == .length(12))
    #expect(try RequestRules.check(head([host, ("transfer-encoding", "Chunked")])).framing == .chunked)
    for fields in [
      [("transfer-encoding", "chunked"), ("content-length", "1")], [("transfer-encoding", "gzip, chunked")],
      [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], [("transfer-encoding", "xchunked")],
      [("transfer-encoding", "chunked, chunked")], [("transfer-encoding", "")], [("content-length", "+1")],
      [("content-length", "-1")], [("content-length", "1, 1")], [("content-length", "1"), ("content-length", "1")],
      [("content-length", "0x10")], [("content-length", "")], [("content-length", "9999999999999999999")],
    ] {
      #expect(refusal(head([host] + fields)) == .badRequest, "\(fields)")
    }
    #expect(refusal(head([host, ("transfer-encoding", "chunked")], version: .http1_0)) == .badRequest)
  }

  @Test func `there is exactly one host`() {
    #expect(refusal(head([])) == .badRequest)
    #expect(refusal(head([("host", "a"), ("Host", "a")])) == .badRequest)
    #expect(refusal(head([("host", "a b")])) == .badRequest)
    #expect(refusal(head([("host", "a/b")])) == .badRequest)
    #expect(refusal(head([], version: .http1_0)) == nil)
    #expect(refusal(head([("host", "[::1]:80")])) == nil)
  }

  @Test func `heads are bounded`() {
    let host = ("host", "h")
    #expect(refusal(head([host] + (0..<100).map { ("x-\($0)", "1") })) == .headTooLarge)
    #expect(refusal(head([host, ("x", String(repeating: "a", count: 33_000))])) == .headTooLarge)
    #expect(refusal(head([host], uri: "/" + String(repeating: "a", count: 8192))) == .uriTooLong)
    #expect(refusal(head([host], method: .CONNECT)) == .methodNotAllowed)
    #expect(refusal(head([host], method: .TRACE)) == .methodNotAllowed)
    #expect(refusal(head([host, ("x", "a\u{0}b")])) == .badRequest)
    #expect(refusal(head([host, ("x", "a\r\n b")])) == .badRequest)
    #expect(refusal(head([host, ("x y", "a")])) == .badRequest)
  }

  @Test func `a hundred thousand mutated heads: no trap, and what passes frames in one way`() {
    var random = SeededGenerator(seed: Soak.seed("heads"))
    let names = ["host", "content-length", "transfer-encoding", "connection", "x-apus-a", "x"].map { Array($0.utf8) }
    let values = ["h", "12", "chunked", "close, x-a", "0", ""].map { Array($0.utf8) }
    for _ in 0..<Soak.rounds(100_000) {
      let fields = (0..<Int.random(in: 0...5, using: &random)).map { _ -> (String, String) in
        var name = names.randomElement(using: &random) ?? []
        var value = values.randomElement(using: &random) ?? []
        if Int.random(in: 0..<3, using: &random) == 0 { mutate(&name, &random) }
        if Int.random(in: 0..<3, using: &random) == 0 { mutate(&value, &random) }
        return (String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self))
      }
      let head = head(fields, version: Bool.random(using: &random) ? .http1_1 : .http1_0)
      guard let accepted = try? RequestRules.check(head) else { continue }
      let codings = head.headers["transfer-encoding"]
      let lengths = head.headers["content-length"]
      #expect(codings.isEmpty || lengths.isEmpty, "seed \(random.seed)")
      switch accepted.framing {
      case .none: #expect(codings.isEmpty && lengths.isEmpty)
      case .length(let length): #expect(lengths.count == 1 && Int64(lengths[0]) == length && length >= 0)
      case .chunked: #expect(codings.count == 1 && codings[0].lowercased() == "chunked")
      }
      let passed = HeaderRules.toFunction(head.headers)
      #expect(!passed.contains { $0.name.lowercased().hasPrefix("x-apus-") || $0.name.lowercased() == "connection" })
      _ = HeaderRules.toClient(head.headers)
      _ = HeaderRules.trailers(head.headers)
    }
  }
}

@Suite struct HeaderRulesTests {
  @Test func `fields of the connection and ours do not pass`() {
    let passed = HeaderRules.toFunction([
      "Connection": "close, X-Secret, Host, Content-Length", "X-Secret": "1", "Keep-Alive": "5", "TE": "trailers",
      "X-Apus-Deadline": "1", "x-apus-anything": "1", "X-Call-Id": "c", "Accept": "*/*", "Upgrade": "h2c",
    ])
    #expect(passed.map(\.name) == ["Accept"])
    let back = HeaderRules.toClient([
      "Connection": "x-a", "X-A": "1", "X-Apus-Error": "pod_crashed", "X-Duration-Seconds": "9", "Set-Cookie": "a=b",
    ])
    #expect(back.map(\.name) == ["Set-Cookie"])
  }

  @Test(arguments: ["a", "A-1.b_c:d", String(repeating: "x", count: 64)])
  func `a good call id is kept`(id: String) { #expect(HeaderRules.isCallID(id)) }

  @Test(arguments: ["", "a b", "ä", "a/b", "a\n", String(repeating: "x", count: 65)])
  func `a bad call id is not`(id: String) { #expect(!HeaderRules.isCallID(id)) }

  @Test func `trace contexts are kept when valid and made otherwise`() {
    #expect(HeaderRules.isTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
    #expect(!HeaderRules.isTraceparent("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"))
    #expect(!HeaderRules.isTraceparent("00-00000000000000000000000000000000-00f067aa0ba902b7-01"))
    #expect(!HeaderRules.isTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"))
    #expect(!HeaderRules.isTraceparent("junk"))
    var random = SeededGenerator(seed: 1)
    for _ in 0..<1000 { #expect(HeaderRules.isTraceparent(HeaderRules.makeTraceparent(using: &random))) }
  }

  @Test func `seconds have six digits after the point`() {
    #expect(CallRequest.seconds(1.5) == "0.001500")
    #expect(CallRequest.seconds(61_000) == "61.000000")
    #expect(CallRequest.seconds(-1) == "0.000000")
  }

  @Test func `worker addresses are split`() {
    #expect(UpstreamPool.split("[::1]:6441")?.0 == "::1")
    #expect(UpstreamPool.split("host:6441")?.1 == 6441)
    #expect(UpstreamPool.split("host") == nil)
    #expect(UpstreamPool.split(":1") == nil)
  }
}
