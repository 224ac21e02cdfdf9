import ClusterAPI
import ClusterTestSupport
import NIOCore
import NIOHPACK
import Testing

@testable import Gateway

/// Header lists into HTTP/1.1, and answers back.
@Suite struct StreamRequestTests {
  static let plain = [(":method", "GET"), (":scheme", "http"), (":path", "/function/echo"), (":authority", "a.test")]

  /// Lists that are no request (RFC 9113, 8.1 to 8.3).
  static let malformed: [(String, [(String, String)])] = [
    ("no method", Array(plain.dropFirst())),
    ("no scheme", [plain[0], plain[2], plain[3]]),
    ("no path", [plain[0], plain[1], plain[3]]),
    ("no authority", Array(plain.prefix(3))),
    ("two methods", plain + [(":method", "GET")]),
    ("two paths", [(":path", "/a")] + plain),
    ("two authorities", plain + [(":authority", "a.test")]),
    ("a status", plain + [(":status", "200")]),
    ("an unknown pseudo-header field", plain + [(":name", "a")]),
    ("a protocol", [(":method", "CONNECT"), (":protocol", "websocket")] + plain.dropFirst()),
    ("a pseudo-header field behind", [plain[0], plain[1], plain[2], ("a", "b"), plain[3]]),
    ("an empty path", [plain[0], plain[1], (":path", ""), plain[3]]),
    ("a path without a slash", [plain[0], plain[1], (":path", "function/echo"), plain[3]]),
    ("a blank in the path", [plain[0], plain[1], (":path", "/a HTTP/1.1"), plain[3]]),
    ("a line's end in the path", [plain[0], plain[1], (":path", "/a\r\nx: y"), plain[3]]),
    ("a NUL in the path", [plain[0], plain[1], (":path", "/a\0"), plain[3]]),
    ("a blank in the method", [(":method", "GET /x HTTP/1.1\r\n")] + plain.dropFirst()),
    ("an empty method", [(":method", "")] + plain.dropFirst()),
    ("another scheme", [plain[0], (":scheme", "ftp"), plain[2], plain[3]]),
    ("a line's end in the authority", Array(plain.prefix(3)) + [(":authority", "a\r\nb: c")]),
    ("userinfo in the authority", Array(plain.prefix(3)) + [(":authority", "u@a.test")]),
    ("an empty authority", Array(plain.prefix(3)) + [(":authority", "")]),
    ("another host", plain + [("host", "b.test")]),
    ("two hosts", plain.prefix(3) + [("host", "a.test"), ("host", "a.test")]),
    ("connection", plain + [("connection", "close")]), ("keep-alive", plain + [("keep-alive", "1")]),
    ("proxy-connection", plain + [("proxy-connection", "close")]), ("upgrade", plain + [("upgrade", "websocket")]),
    ("transfer-encoding", plain + [("transfer-encoding", "chunked")]),
    ("te", plain + [("te", "gzip")]), ("te and more", plain + [("te", "trailers, gzip")]),
    ("a capital", plain + [("X-a", "b")]), ("an empty name", plain + [("", "b")]), ("a colon", plain + [("a:b", "c")]),
    ("a blank in a name", plain + [("a b", "c")]), ("a line's end in a name", plain + [("a\r\nb", "c")]),
    ("CR in a value", plain + [("a", "b\rc")]), ("LF in a value", plain + [("a", "b\nc")]),
    ("NUL in a value", plain + [("a", "b\0c")]), ("DEL in a value", plain + [("a", "b\u{7F}")]),
    ("a blank before a value", plain + [("a", " b")]), ("a tab behind a value", plain + [("a", "b\t")]),
    ("content-length twice", plain + [("content-length", "0"), ("content-length", "0")]),
    ("content-length that is none", plain + [("content-length", "+1")]),
    ("content-length without a body", plain + [("content-length", "1")]),
    ("a CONNECT with a path", [(":method", "CONNECT")] + plain.dropFirst()),
    ("a CONNECT without an authority", [(":method", "CONNECT")]),
  ]

  private func head(_ list: [(String, String)], end: Bool = true) throws(StreamFault) -> ByteBuffer {
    var request = StreamRequest()
    return try request.head(HPACKHeaders(list), endStream: end)
  }

  @Test(arguments: malformed.indices) func `what is no request is refused`(_ index: Int) {
    let (why, list) = Self.malformed[index]
    #expect(throws: StreamFault.self, "\(why)") { try head(list) }
  }

  @Test func `a request becomes the bytes of one`() throws {
    let fields = [("cookie", "a=1"), ("x-a", "b"), ("cookie", "c=2"), ("te", "trailers"), ("empty", "")]
    #expect(
      String(buffer: try head(Self.plain + fields))
        == "GET /function/echo HTTP/1.1\r\nhost: a.test\r\ncookie: a=1; c=2\r\nx-a: b\r\nte: trailers\r\nempty: \r\n\r\n"
    )
    let posted = [(":method", "POST")] + Self.plain.dropFirst()
    #expect(String(buffer: try head(posted, end: false)).contains("transfer-encoding: chunked\r\n"))
    let told = try head(posted + [("content-length", "007")], end: false)
    #expect(String(buffer: told).contains("content-length: 7\r\n"))
    #expect(!String(buffer: told).contains("chunked"))
    let hosted = Self.plain.prefix(3) + [("host", "b.test")]
    #expect(String(buffer: try head(Array(hosted))).contains("host: b.test\r\n"))
    let connect = try head([(":method", "CONNECT"), (":authority", "a.test:443")])
    #expect(String(buffer: connect).hasPrefix("CONNECT a.test:443 HTTP/1.1\r\n"))
  }

  @Test func `a body is as long as it says, and trailers end one without a length`() throws {
    func body(_ length: String?, _ parts: [String], trailers: [(String, String)]? = nil) throws(StreamFault) -> String {
      var request = StreamRequest()
      let posted = [(":method", "POST")] + Self.plain.dropFirst()
      _ = try request.head(HPACKHeaders(posted + (length.map { [("content-length", $0)] } ?? [])), endStream: false)
      var out = ""
      for (index, part) in parts.enumerated() {
        let last = index == parts.count - 1 && trailers == nil
        try request.data(ByteBuffer(string: part), endStream: last) { out += String(buffer: $0) }
      }
      if let trailers, let bytes = try request.trailers(HPACKHeaders(trailers)) { out += String(buffer: bytes) }
      #expect(request.isEnded)
      return out
    }
    #expect(try body("5", ["he", "", "llo"]) == "hello")
    #expect(try body("0", [""]) == "")
    #expect(try body(nil, ["0123456789abcdef", ""]) == "10\r\n0123456789abcdef\r\n0\r\n\r\n")
    #expect(try body(nil, ["a"], trailers: [("x", "y")]) == "1\r\na\r\n0\r\nx: y\r\n\r\n")
    #expect(try body("1", ["a"], trailers: [("x", "y")]) == "a", "HTTP/1.1 has no room for them")
    #expect(throws: StreamFault.self) { try body("5", ["hello", "!"]) }
    #expect(throws: StreamFault.self) { try body("5", ["hell"]) }
    #expect(throws: StreamFault.self) { try body("5", ["hell"], trailers: []) }
    for bad in [(":path", "/"), ("X", "y"), ("x", "a\r\nb"), ("connection", "close"), ("transfer-encoding", "chunked")]
    {
      #expect(throws: StreamFault.self) { try body(nil, ["a"], trailers: [bad]) }
    }
  }

  @Test func `mutated header lists never trap, and what passes is one request that says the same`() throws {
    var random = SeededGenerator(seed: 9)
    var passed = 0
    for round in 0..<30_000 {
      let list = Self.mutated(&random)
      let end = Bool.random(using: &random)
      guard let bytes = try? head(list, end: end) else { continue }
      passed += 1
      compare(bytes, list, end: end, "round \(round): \(list)")
    }
    #expect(passed > 1500, "too few lists pass to mean anything: \(passed)")
    #expect(passed < 28_000, "too few lists are refused to mean anything: \(passed)")
  }

  /// Reads bytes back, and holds what is read against the list they were made of.
  private func compare(_ buffer: ByteBuffer, _ list: [(String, String)], end: Bool, _ about: String) {
    var lines = HeadLines(hasStartLine: true)
    buffer.withUnsafeReadableBytes { bytes in
      guard let length = try? lines.read(bytes) else {
        Issue.record("the reader refuses it, or waits for more: \(about)")
        return
      }
      #expect(length == bytes.count, "something stands behind the head: \(about)")
      var head = RequestHead()
      do throws(Refusal) {
        try head.check(lines, bytes)
      } catch {
        // What the client is told with a status; it is one request still.
        #expect(
          error.code == .methodNotAllowed || error.code == .uriTooLong || error.message.contains("method"),
          "\(error) \(about)")
        return
      }
      func first(_ name: String) -> String? { list.first { $0.0 == name }?.1 }
      #expect(head.method.text(bytes) == first(":method"), "\(about)")
      #expect(head.target.text(bytes) == first(":path"), "\(about)")
      #expect(head.host.text(bytes) == first(":authority") ?? first("host"), "\(about)")
      let told = first("content-length").flatMap { Int64($0) }
      #expect(head.framing == told.map { .length($0) } ?? (end ? .none : .chunked), "\(about)")
      #expect(head.upgrade == nil && head.keepAlive && !head.isHTTP10, "\(about)")
      let special: Set = ["host", "content-length", "transfer-encoding", "cookie"]
      let read = lines.fields.map { ($0.name.text(bytes), $0.value.text(bytes)) }.filter { !special.contains($0.0) }
      let given = list.filter { !$0.0.hasPrefix(":") && !special.contains($0.0) }
      #expect(read.map { "\($0.0)=\($0.1)" } == given.map { "\($0.0)=\($0.1)" }, "\(about)")
      let cookies = list.filter { $0.0 == "cookie" }.map(\.1)
      let cookie = lines.fields.filter { $0.name.text(bytes) == "cookie" }.map { $0.value.text(bytes) }
      #expect(cookie == (cookies.isEmpty ? [] : [cookies.joined(separator: "; ")]), "\(about)")
    }
  }

  private static func mutated(_ random: inout SeededGenerator) -> [(String, String)] {
    var list = plain
    let extras = [
      ("host", "a.test"), ("content-length", "5"), ("content-length", "0"), ("te", "trailers"), ("cookie", "a=b"),
      ("x-a", "b"), ("expect", "100-continue"), ("accept", "*/*"), ("x-forwarded-for", "1.2.3.4"), ("x_y", "z"),
      ("connection", "upgrade"), ("transfer-encoding", "chunked"), ("upgrade", "h2c"), ("x", "é"),
    ]
    for _ in 0..<Int.random(in: 0...4, using: &random) {
      if let extra = extras.randomElement(using: &random) { list.append(extra) }
    }
    for _ in 0..<Int.random(in: 0...2, using: &random) {
      let at = Int.random(in: 0..<list.count, using: &random)
      switch Int.random(in: 0..<8, using: &random) {
      case 0: list.remove(at: at)
      case 1: list.append(list[at])
      case 2: list.swapAt(at, Int.random(in: 0..<list.count, using: &random))
      case 3: list[at].0 = mutated(list[at].0, &random)
      case 4: list[at].0 = list[at].0.uppercased()
      default: list[at].1 = mutated(list[at].1, &random)
      }
      if list.isEmpty { return plain }
    }
    return list
  }

  private static func mutated(_ text: String, _ random: inout SeededGenerator) -> String {
    let pieces = [
      "\r\n", "\n", "\r", "\0", " ", "\t", ":", "\r\n\r\nGET / HTTP/1.1\r\n", "a", "/", "Z", "\u{7F}", "é", "#", "@",
      ",", ";", "9", "%00", "-", "_",
    ]
    var scalars = Array(text.unicodeScalars)
    let at = Int.random(in: 0...scalars.count, using: &random)
    if Bool.random(using: &random), at < scalars.count { scalars.remove(at: at) }
    scalars.insert(contentsOf: (pieces.randomElement(using: &random) ?? "").unicodeScalars, at: min(at, scalars.count))
    var mutated = String.UnicodeScalarView()
    mutated.append(contentsOf: scalars)
    return String(mutated)
  }

  // MARK: answers

  /// The parts of an answer that comes in pieces of some size, as text.
  private func parts(_ text: String, piece: Int = .max, toHEAD: Bool = false) throws -> [String] {
    var answer = StreamAnswer()
    var rest = ByteBuffer(string: text)
    var said: [String] = []
    while let bytes = rest.readSlice(length: min(piece, rest.readableBytes)), bytes.readableBytes > 0 {
      for part in try answer.take(bytes, toHEAD: toHEAD) {
        switch part {
        case .headers(let list, let end):
          said.append(list.map { "\($0.name)=\($0.value)" }.joined(separator: "&") + (end ? "." : ""))
        case .data(let bytes, let end): said.append("<" + String(buffer: bytes) + ">" + (end ? "." : ""))
        }
      }
    }
    #expect(answer.isEnded)
    return said
  }

  @Test func `an answer becomes frames, its end on the last of them`() throws {
    let framed = "HTTP/1.1 200 OK\r\nX-A: b\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"
    #expect(try parts(framed) == [":status=200&x-a=b&content-length=5", "<hello>."])
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    #expect(try parts(chunked) == [":status=200", "<ab>", "<c>."])
    let empty = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    #expect(try parts(empty) == [":status=200."])
    #expect(try parts("HTTP/1.1 204 No Content\r\nx: y\r\n\r\n") == [":status=204&x=y."])
    #expect(try parts("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n") == [":status=304&content-length=5."])
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
    #expect(try parts(head, toHEAD: true) == [":status=200&content-length=5."])
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    #expect(try parts(interim) == [":status=100", ":status=200&content-length=0."])
    let trailers = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n"
    #expect(try parts(trailers) == [":status=200", "<a>", "x-sum=1."])
  }

  @Test(arguments: [1, 2, 3, 7]) func `an answer in pieces says the same`(_ piece: Int) throws {
    let text =
      "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\ntransfer-encoding: chunked\r\n\r\n"
      + "5\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\n\r\n"
    let said = try parts(text, piece: piece)
    #expect(said.prefix(2) == [":status=103", ":status=200&a=b"])
    #expect(said.dropFirst(2).dropLast().joined().filter { $0 != "<" && $0 != ">" } == "hello world")
    #expect(said.last == "x=y.")
  }

  @Test func `an answer no stream can carry is told`() {
    for text in [
      "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
      "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab", "SMTP ready\r\n\r\n",
    ] {
      #expect(throws: ParseFailure.self, "\(text)") { try parts(text) }
    }
  }

  @Test func `the preface is known in pieces of every size, and nothing else is taken for it`() {
    let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    for size in 1...30 {
      var scan = PrefaceScan()
      var findings: [PrefaceScan.Finding] = []
      var rest = (preface + [1, 2, 3])[...]
      while !rest.isEmpty, findings.last == nil || findings.last == .open {
        findings.append(scan.take(ByteBuffer(bytes: rest.prefix(size))))
        rest = rest.dropFirst(size)
      }
      guard case .preface(let bytes)? = findings.last else {
        Issue.record("not known in pieces of \(size)")
        continue
      }
      #expect(Array(bytes.readableBytesView) == (preface + [1, 2, 3]).dropLast(rest.count))
    }
    for text in ["POST / HTTP/1.1\r\n", "G", "PRI * HTTP/2.0\r\n\r\nSX", "PRI * HTTP/1.1\r\n"] {
      var scan = PrefaceScan()
      #expect(scan.take(ByteBuffer(string: text)) == .other(ByteBuffer(string: text)))
    }
  }
}
