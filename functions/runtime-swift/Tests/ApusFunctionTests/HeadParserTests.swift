import Testing

@testable import ApusFunction

@Suite struct HeadParserTests {
  static func parse(_ text: String) throws(BadRequest) -> RequestHead? {
    let bytes = Array(text.utf8)
    guard let end = try HeadParser.end(of: bytes) else { return nil }
    return try HeadParser.parse(bytes[..<end])
  }

  @Test("a request is taken apart")
  func whole() throws {
    let head = try #require(
      try Self.parse(
        "POST /a%20b?c=d HTTP/1.1\r\nHost: x\r\ncontent-LENGTH: 5\r\nX-A:  one \r\nx-a: two\r\nExpect: 100-continue\r\n\r\nhello"
      ))
    #expect(head.method == "POST")
    #expect(head.path == "/a%20b")
    #expect(head.query == "c=d")
    #expect(head.length == .fixed(5))
    #expect(head.headers["X-a"] == "one, two")
    #expect(head.keepAlive)
    #expect(head.expectsContinue)
  }

  @Test(
    "an unfinished head is waited for", arguments: ["", "GET", "GET / HTTP/1.1\r", "GET / HTTP/1.1\r\nHost: x\r\n\r"])
  func unfinished(_ text: String) throws {
    #expect(try Self.parse(text) == nil)
  }

  @Test(
    "whatever has two readings is refused",
    arguments: [
      ("GET / HTTP/1.1\nHost: x\n\n", 400), ("GET / HTTP/1.1\r\n\r\n", 400),
      ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
      ("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
      ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", 400),
      ("GET / HTTP/1.1\r\nHost: x\r\nA: \u{1}\r\n\r\n", 400), ("GET x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
      ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +1\r\n\r\n", 400),
      ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\n", 400),
      ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
      ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
      ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
      ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
      ("POST / HTTP/1.1\r\nHost: x\r\nExpect: more\r\n\r\n", 417), ("GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
      ("GET / HTTP/1.1\r\nHost: x\r\nX: " + String(repeating: "a", count: 70_000), 431),
      ("GET / HTTP/1.1\r\nHost: x\r\n" + String(repeating: "a: b\r\n", count: 300) + "\r\n", 431),
    ])
  func refused(_ text: String, _ status: Int) {
    let bad = #expect(throws: BadRequest.self) { _ = try Self.parse(text) }
    #expect(bad?.status == status)
  }

  @Test(
    "the connection goes on as the client says",
    arguments: [
      ("HTTP/1.1", "", true), ("HTTP/1.1", "Connection: close\r\n", false),
      ("HTTP/1.1", "Connection: te, CLOSE\r\n", false),
      ("HTTP/1.0", "", false), ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
    ])
  func keepAlive(_ version: String, _ field: String, _ goesOn: Bool) throws {
    #expect(try Self.parse("GET / \(version)\r\nHost: x\r\n\(field)\r\n")?.keepAlive == goesOn)
  }

  @Test("100,000 mutations give a head or a refusal, and no head breaks the rules")
  func mutations() {
    let seeds = [
      "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
      "POST /a?b HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\nX-Call-Id: 1\r\n\r\nhello",
      "POST / HTTP/1.1\r\nhost:x\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: v\r\n\r\n",
      "PUT /x HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\nCookie: a=b\r\n\r\n",
    ].map { Array($0.utf8) }
    let pieces = ["\r\n", "\n", "\r", "\0", " ", ":", "-1", "ffffffffffffffff", "chunked", "\r\n\r\n", "Host: y\r\n"]
      .map {
        Array($0.utf8)
      }
    let seed: UInt64 = 20_261_121
    var random = Seeded(seed)
    var (heads, refused) = (0, 0)
    for number in 0..<100_000 {
      var bytes = seeds[Int.random(in: 0..<seeds.count, using: &random)]
      for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
        let at = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.insert(contentsOf: pieces[Int.random(in: 0..<pieces.count, using: &random)], at: at)
        default: bytes.removeSubrange(at..<min(bytes.count, at + 5))
        }
      }
      do throws(BadRequest) {
        guard let head = try Self.read(bytes, cut: Int.random(in: 1...9, using: &random)) else { continue }
        heads += 1
        if !Self.isSound(head) { Issue.record("seed \(seed), mutation \(number): \(bytes)") }
      } catch {
        refused += 1
      }
    }
    #expect(heads > 1000 && refused > 1000)
  }

  private static func read(_ bytes: [UInt8], cut: Int) throws(BadRequest) -> RequestHead? {
    guard let end = try HeadParser.end(of: bytes) else { return nil }
    let head = try HeadParser.parse(bytes[..<end])
    guard head.length == .chunked else { return head }
    var decoder = ChunkedDecoder(limit: 1000)
    var (buffer, body): ([UInt8], [UInt8]) = ([], [])
    var at = end
    while at < bytes.count {
      buffer += bytes[at..<min(bytes.count, at + cut)]
      at += cut
      if try decoder.feed(&buffer, into: &body) { break }
    }
    return head
  }

  private static func isSound(_ head: RequestHead) -> Bool {
    let values = head.headers.allSatisfy { field in
      !field.name.isEmpty && !field.value.utf8.contains { $0 == 13 || $0 == 10 || $0 == 0 }
    }
    let coded = head.headers["transfer-encoding"] != nil
    return values && coded == (head.length == .chunked) && (head.path.hasPrefix("/") || head.path == "*")
  }
}
