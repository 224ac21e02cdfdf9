import ClusterTestSupport
import Foundation

/// Flips, inserts, removes and doubles bytes.
func mutate(_ bytes: inout [UInt8], _ random: inout SeededGenerator) {
  for _ in 0..<Int.random(in: 1...4, using: &random) {
    let position = Int.random(in: 0...bytes.count, using: &random)
    switch Int.random(in: 0..<5, using: &random) {
    case 0: bytes.insert(UInt8.random(in: 0...255, using: &random), at: position)
    case 1: if position < bytes.count { bytes.remove(at: position) }
    case 2: if position < bytes.count { bytes[position] = UInt8.random(in: 0...255, using: &random) }
    case 3: bytes.insert(contentsOf: (FuzzGrammar.tokens.randomElement(using: &random) ?? "").utf8, at: position)
    default:
      let end = min(bytes.count, position + Int.random(in: 0...8, using: &random))
      bytes.insert(contentsOf: bytes[position..<end], at: position)
    }
  }
}

/// Makes messages of which most are nearly right: what a reader is about is at the edges of its rules.
struct FuzzGrammar {
  var random: SeededGenerator

  /// What readers look for.
  static let tokens = [
    "\r\n", "\n", "\r", "\r\n\r\n", " ", "\t", ":", ",", ";", "\0", "chunked", "Content-Length: 3\r\n", "0\r\n\r\n",
    "Transfer-Encoding: chunked\r\n", "Host: x\r\n", " HTTP/1.1", "_", "\u{7F}", "\u{80}", "GET / HTTP/1.1\r\n",
    "http://",
  ]

  private static let methods = [
    "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "M-SEARCH", "CONNECT", "TRACE", "G@T",
  ]
  private static let targets = [
    "/function/echo", "/function/echo/", "/function/echo.team-a/a%2Fb?c=d", "/function/e?x", "/", "*", "", "/a#b",
    "http://h/function/e?x", "HTTPS://h.test:8443/function/e", "http://u@h/function/e", "http://?x", "https://h",
    "ftp://h/",
    "/function/echo/" + String(repeating: "a", count: 300),
    "/2015-03-31/functions/echo/invocations?Qualifier=%24LATEST",
    "/2015-03-31/functions/arn%3Aaws%3Alambda%3Ar%3A0%3Afunction%3Aecho/invocations",
  ]
  private static let versions = ["HTTP/1.0", "HTTP/1.2", "http/1.1", "HTTP/2.0", "HTTP/1.1 "]

  /// Names with values that mean something with them; any other value may stand there too.
  private static let fields: [(String, [String])] = [
    ("host", ["h", "h.test:80", "[::1]:80", "a b", "", "h%20"]),
    ("content-length", ["5", "0", "+5", "5, 5", "12345678901234567890"]),
    ("transfer-encoding", ["chunked", "Chunked", "xchunked", "gzip, chunked", "chunked, chunked"]),
    (
      "connection",
      [
        "close", "keep-alive", "upgrade", "x-a, Close", "X-Forwarded-For", "content-length, host", ", ,",
        "keep-alive, upgrade",
      ]
    ),
    ("upgrade", ["websocket", "h2c", "a, b"]), ("expect", ["100-continue", "100-Continue", "200-ok"]),
    ("te", ["trailers"]), ("trailer", ["x-a"]), ("keep-alive", ["timeout=5"]), ("proxy-connection", ["close"]),
    ("http2-settings", ["AAMAAABkAAQAAP__"]), ("proxy-authenticate", ["Basic"]),
    ("proxy-authorization", ["Basic eDp5"]),
    ("cookie", ["a=b"]), ("set-cookie", ["a=b"]), ("authorization", ["Bearer x"]),
    ("x-call-id", ["c", "a.b_c:d-E9", "a b", String(repeating: "x", count: 65), ""]),
    (
      "traceparent",
      [
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
      ]
    ),
    ("forwarded", ["for=1.1.1.1"]), ("x-forwarded-for", ["1.1.1.1", ""]), ("x-forwarded-host", ["h"]),
    ("x-forwarded-proto", ["https"]), ("x-forwarded-prefix", ["/a"]), ("x-duration-seconds", ["1"]),
    ("x-apus-error", ["x"]),
    ("X-A", ["b", ""]), ("accept", ["*/*"]), ("x_own", ["kept"]), ("content-type", ["text/plain"]),
    ("sec-websocket-key", ["x"]),
    ("h", ["1"]), ("zeta", ["\t b \t"]), ("x-forwarded-forx", ["1"]),
  ]

  mutating func chance(_ one: Int) -> Bool { Int.random(in: 0..<one, using: &random) == 0 }

  private mutating func pick<T>(_ all: [T], _ fallback: T) -> T { all.randomElement(using: &random) ?? fallback }

  /// A field's line without its end.
  private mutating func field() -> String {
    var (name, values) = pick(Self.fields, ("x", ["y"]))
    if chance(3) { name = name.capitalized }
    if chance(20) { name = name.replacing("-", with: "_") }
    let value = chance(8) ? pick(pick(Self.fields, ("x", ["y"])).1, "") : pick(values, "")
    return name + pick([":", ": ", ": ", ": ", ":\t ", " :"], ":") + value + pick(["", "", "", " "], "")
  }

  private mutating func head(_ start: String, _ given: [String]) -> [UInt8] {
    var lines = given
    if chance(300) {
      lines += Array(repeating: "x: y", count: Int.random(in: 96...103, using: &random))
    } else {
      for _ in 0..<Int.random(in: 0...5, using: &random) {
        lines.insert(field(), at: Int.random(in: 0...lines.count, using: &random))
      }
    }
    if chance(1000) { lines.append("x: " + String(repeating: "a", count: 33 << 10)) }
    return Array(([start] + lines).map { $0 + "\r\n" }.joined().utf8) + [13, 10]
  }

  /// A request's head, most of them with one `Host` and at most one framing.
  mutating func request() -> [UInt8] {
    let method = chance(3) ? pick(Self.methods, "GET") : "POST"
    var target = chance(3) ? pick(Self.targets, "/") : "/function/echo/a?b"
    if chance(2000) { target = "/" + String(repeating: "a", count: 8 << 10) }
    let version = chance(8) ? pick(Self.versions, "HTTP/1.1") : "HTTP/1.1"
    let framing = pick([nil, "Content-Length: 5", "Transfer-Encoding: chunked"], nil)
    let given = (chance(20) ? [] : ["Host: h"]) + (framing.map { [$0] } ?? [])
    return head("\(method) \(target) \(version)", given)
  }

  /// An answer's head.
  mutating func answer() -> [UInt8] {
    let status = pick(
      [
        "200 OK", "200", "204 No Content", "304 Not Modified", "404 ", "100 Continue", "101 Switching Protocols",
        "599 x",
      ], "200")
    let version = chance(10) ? pick(Self.versions, "HTTP/1.0") : "HTTP/1.1"
    let framing = pick([nil, "Content-Length: 5", "Transfer-Encoding: chunked"], nil)
    return head("\(version) \(status)", framing.map { [$0] } ?? [])
  }

  /// A body in chunks that is right, and the bytes it stands for.
  mutating func chunks() -> (text: [UInt8], bytes: [UInt8]) {
    var text: [UInt8] = []
    var bytes: [UInt8] = []
    for _ in 0..<Int.random(in: 0...4, using: &random) {
      let part = (0..<Int.random(in: 1...40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      var size = String(part.count, radix: 16, uppercase: Bool.random(using: &random))
      if chance(4) { size = "000" + size }
      if chance(4) { size += ";a=\"b\"" }
      text += Array(size.utf8) + [13, 10] + part + [13, 10]
      bytes += part
    }
    text += Array(pick(["0\r\n", "00\r\n", "0;e\r\n"], "0\r\n").utf8)
    for _ in 0..<(chance(2) ? 0 : Int.random(in: 0...3, using: &random)) {
      text += Array((field().replacing(" :", with: ":") + "\r\n").utf8)
    }
    return (text + [13, 10], bytes)
  }
}
