/// Requests that two servers could read in two ways, or that would never end: each with its name. All are refused, and
/// what stands behind them is no request.
enum SmugglingSet {
  /// One text, whole.
  struct Attack: Sendable, CustomStringConvertible {
    let name: String
    let bytes: [UInt8]

    var description: String { name }
  }

  /// Behind every attack: the request that somebody wants to have answered in another one's place.
  static let second = "GET /function/echo/smuggled HTTP/1.1\r\nHost: h\r\n\r\n"

  private static func attack(_ name: String, _ text: String) -> Attack {
    Attack(name: name, bytes: Array((text + second).utf8))
  }

  private static func post(
    _ name: String, _ fields: [String], body: String = "0\r\n\r\n", line: String = "POST /function/echo HTTP/1.1"
  ) -> Attack {
    attack(name, ([line, "Host: h"] + fields).map { $0 + "\r\n" }.joined() + "\r\n" + body)
  }

  private static func chunked(_ name: String, _ body: String) -> Attack {
    post(name, ["Transfer-Encoding: chunked"], body: body)
  }

  /// Refused with their heads: not a byte goes to a pod.
  static let heads: [Attack] = framing + lines + hosts + starts

  private static let framing: [Attack] = [
    post("TE and CL", ["Transfer-Encoding: chunked", "Content-Length: 5"]),
    post("CL and TE", ["Content-Length: 5", "Transfer-Encoding: chunked"]),
    post("TE and CL of another case", ["tRANSFER-eNCODING: chunked", "cONTENT-lENGTH: 5"]),
    post("differing CL", ["Content-Length: 5", "Content-Length: 6"]),
    post("the same CL twice", ["Content-Length: 5", "Content-Length: 5"]),
    post("a list of CL", ["Content-Length: 5, 5"]), post("a list of differing CL", ["Content-Length: 5, 6"]),
    post("a plus before CL", ["Content-Length: +5"]), post("a minus before CL", ["Content-Length: -5"]),
    post("a hexadecimal CL", ["Content-Length: 0x5"]), post("a fraction", ["Content-Length: 5.0"]),
    post("a power", ["Content-Length: 5e0"]), post("an underscore", ["Content-Length: 1_0"]),
    post("a blank in CL", ["Content-Length: 5 0"]), post("a parameter of CL", ["Content-Length: 5;a"]),
    post("an empty CL", ["Content-Length:"]), post("a quoted CL", ["Content-Length: \"5\""]),
    post("digits that are not ASCII", ["Content-Length: \u{665}"]),
    post("a CL beyond 64 bits", ["Content-Length: 18446744073709551621"]),
    post("a CL beyond 63 bits", ["Content-Length: 9223372036854775808"]),
    post("chunked, chunked", ["Transfer-Encoding: chunked, chunked"]),
    post("chunked twice", ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"]),
    post("chunked and identity", ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"]),
    post("xchunked", ["Transfer-Encoding: xchunked"]), post("chunkedx", ["Transfer-Encoding: chunkedx"]),
    post("identity", ["Transfer-Encoding: identity"]), post("an empty TE", ["Transfer-Encoding:"]),
    post("gzip, chunked", ["Transfer-Encoding: gzip, chunked"]),
    post("chunked, identity", ["Transfer-Encoding: chunked, identity"]),
    post("a comma before chunked", ["Transfer-Encoding: ,chunked"]),
    post("a comma behind chunked", ["Transfer-Encoding: chunked,"]),
    post("a parameter of chunked", ["Transfer-Encoding: chunked;q=1"]),
    post("chunked in quotes", ["Transfer-Encoding: \"chunked\""]),
    post("a vertical tab before chunked", ["Transfer-Encoding: \u{B}chunked"]),
    post("a NUL behind chunked", ["Transfer-Encoding: chunked\0"]),
    post("a Kelvin sign for the k", ["Transfer-Encoding: chun\u{212A}ed"]),
    post("HTTP/1.0 and TE", ["Transfer-Encoding: chunked"], line: "POST /function/echo HTTP/1.0"),
  ]

  private static let lines: [Attack] = [
    post("obs-fold with a blank", ["X: a", " b"]), post("obs-fold with a tab", ["X: a", "\tb"]),
    post("TE on a folded line", ["Transfer-Encoding:", " chunked"]),
    post("TE hidden in a folded line", ["X: a", " Transfer-Encoding: chunked"]),
    attack("a fold behind the request line", "POST /function/echo HTTP/1.1\r\n Host: h\r\nHost: h\r\n\r\n"),
    post("bare CR in a value", ["X: a\rTransfer-Encoding: chunked"]),
    post("bare CR as a line's end", ["X: a\rY: b"]), post("CR CR LF", ["X: a\r"]),
    post("bare LF in a value", ["X: a\nTransfer-Encoding: chunked"]),
    attack("bare LF everywhere", "POST /function/echo HTTP/1.1\nHost: h\nContent-Length: 0\n\n"),
    attack("bare LF behind the request line", "POST /function/echo HTTP/1.1\nHost: h\r\n\r\n"),
    attack("bare LF at the head's end", "POST /function/echo HTTP/1.1\r\nHost: h\r\n\n"),
    attack("CR LF CR at the head's end", "POST /function/echo HTTP/1.1\r\nHost: h\r\n\rX"),
    attack("a bare LF before the request", "\nPOST /function/echo HTTP/1.1\r\nHost: h\r\n\r\n"),
    attack("a bare CR before the request", "\rPOST /function/echo HTTP/1.1\r\nHost: h\r\n\r\n"),
    post("a blank before the colon of TE", ["Transfer-Encoding : chunked"]),
    post("a tab before the colon of CL", ["Content-Length\t: 5"]),
    attack("a blank before the colon of Host", "POST /function/echo HTTP/1.1\r\nHost : h\r\n\r\n"),
    post("a blank in a name", ["Transfer Encoding: chunked"]), post("a blank before a name", [" X: a"]),
    post("no name", [": a"]), post("no colon", ["Transfer-Encoding chunked"]),
    post("a NUL in a name", ["Transfer-Enc\0oding: chunked"]), post("a NUL in a value", ["X: a\0b"]),
    post("a NUL before a name", ["\0Transfer-Encoding: chunked"]),
    post("DEL in a value", ["X: a\u{7F}b"]), post("a bell in a value", ["X: a\u{7}b"]),
    post("a name beyond ASCII", ["Transf\u{E9}r: chunked"]), post("a name in quotes", ["\"X\": a"]),
    post("a name in brackets", ["(X): a"]), post("a slash in a name", ["X/Y: a"]),
  ]

  private static let hosts: [Attack] = [
    attack("no Host", "GET /function/echo HTTP/1.1\r\n\r\n"),
    attack("two Hosts", "GET /function/echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    attack("the same Host twice", "GET /function/echo HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"),
    attack("a list of Hosts", "GET /function/echo HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    attack("a path in Host", "GET /function/echo HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    attack("userinfo in Host", "GET /function/echo HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    attack("an absolute target and no Host", "GET http://h/function/echo HTTP/1.1\r\n\r\n"),
    attack("two Hosts in HTTP/1.0", "GET /function/echo HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
  ]

  private static let starts: [Attack] = [
    attack("no version", "GET /function/echo\r\n\r\n"), attack("HTTP/0.9", "GET /function/echo HTTP/0.9\r\n\r\n"),
    attack("HTTP/1.2", "GET /function/echo HTTP/1.2\r\nHost: h\r\n\r\n"),
    attack("HTTP/2.0", "GET /function/echo HTTP/2.0\r\nHost: h\r\n\r\n"),
    attack("a version of another case", "GET /function/echo http/1.1\r\nHost: h\r\n\r\n"),
    attack("a blank behind the version", "GET /function/echo HTTP/1.1 \r\nHost: h\r\n\r\n"),
    attack("two blanks", "GET  /function/echo HTTP/1.1\r\nHost: h\r\n\r\n"),
    attack("a tab", "GET\t/function/echo HTTP/1.1\r\nHost: h\r\n\r\n"),
    attack("a blank in the target", "GET /function/echo x HTTP/1.1\r\nHost: h\r\n\r\n"),
    attack("a NUL in the target", "GET /function/echo\0 HTTP/1.1\r\nHost: h\r\n\r\n"),
    attack("a bare CR in the target", "GET /function/echo\rX HTTP/1.1\r\nHost: h\r\n\r\n"),
    attack("a fragment", "GET /function/echo#a HTTP/1.1\r\nHost: h\r\n\r\n"),
    attack("a target beyond ASCII", "GET /function/echo/\u{E9} HTTP/1.1\r\nHost: h\r\n\r\n"),
    attack("a method that is none", "G@T /function/echo HTTP/1.1\r\nHost: h\r\n\r\n"),
    attack("no method", " /function/echo HTTP/1.1\r\nHost: h\r\n\r\n"),
    attack("CONNECT", "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n"),
    attack("TRACE", "TRACE /function/echo HTTP/1.1\r\nHost: h\r\n\r\n"),
    attack("a handshake of TLS", "\u{16}\u{3}\u{1}\0\u{7F}\r\n\r\n"),
    attack("another protocol", "EHLO h\r\n"),
  ]

  /// Heads that are too large; what is refused is refused when the bound is reached, not at their end.
  static let large: [Attack] = [
    post("a header of 33 KiB", ["X: " + String(repeating: "a", count: 33 << 10)]),
    post("a name of 33 KiB", [String(repeating: "a", count: 33 << 10) + ": b"]),
    attack("a target of 9 KiB", "GET /\(String(repeating: "a", count: 9 << 10)) HTTP/1.1\r\nHost: h\r\n\r\n"),
    attack("a method of 33 KiB", String(repeating: "A", count: 33 << 10) + " / HTTP/1.1\r\nHost: h\r\n\r\n"),
    post("101 headers", (0..<101).map { "x-\($0): 1" }), post("10,000 headers", (0..<10_000).map { "x-\($0): 1" }),
    post("10,000 empty headers", Array(repeating: "x:", count: 10_000)),
    attack("a line of a mebibyte", "POST /function/echo HTTP/1.1\r\nX: " + String(repeating: "a", count: 1 << 20)),
    post("10,000 options in Connection", ["Connection: " + String(repeating: "a,", count: 10_000)]),
  ]

  /// Bodies in chunks that could be read in two ways. Their heads are good and may have gone to a pod; the request never
  /// ends there.
  static let bodies: [Attack] = [
    chunked("no number", "ZZ\r\nhello\r\n0\r\n\r\n"), chunked("an empty size", "\r\nhello\r\n0\r\n\r\n"),
    chunked("a minus", "-5\r\nhello\r\n0\r\n\r\n"), chunked("a plus", "+5\r\nhello\r\n0\r\n\r\n"),
    chunked("0x", "0x5\r\nhello\r\n0\r\n\r\n"), chunked("a blank before", " 5\r\nhello\r\n0\r\n\r\n"),
    chunked("a blank behind", "5 \r\nhello\r\n0\r\n\r\n"), chunked("a tab behind", "5\t\r\nhello\r\n0\r\n\r\n"),
    chunked("an underscore", "0_5\r\nhello\r\n0\r\n\r\n"), chunked("a comma", "5,5\r\nhello\r\n0\r\n\r\n"),
    chunked("more than 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    chunked("64 bits", "ffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    chunked("many zeros", String(repeating: "0", count: 40) + "5\r\nhello\r\n0\r\n\r\n"),
    chunked("a bare LF behind the size", "5\nhello\r\n0\r\n\r\n"),
    chunked("a bare CR behind the size", "5\rhello\r\n0\r\n\r\n"), chunked("CR CR LF", "5\r\r\nhello\r\n0\r\n\r\n"),
    chunked("a bare LF behind the data", "5\r\nhello\n0\r\n\r\n"),
    chunked("data longer than its size", "5\r\nhello!\r\n0\r\n\r\n"),
    chunked("data shorter than its size", "6\r\nhello\r\n0\r\n\r\n"), chunked("no size but an extension", ";a\r\n"),
    chunked("a NUL in an extension", "5;\0\r\nhello\r\n0\r\n\r\n"),
    chunked("an LF in an extension", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
    chunked("a long extension", "5;" + String(repeating: "e", count: 300) + "\r\nhello\r\n0\r\n\r\n"),
    chunked("a folded trailer", "0\r\nX: a\r\n b\r\n\r\n"),
    chunked("a trailer with a bare LF", "0\r\nX: a\nY: b\r\n\r\n"),
    chunked("a blank before a trailer's colon", "0\r\nX : a\r\n\r\n"),
    chunked("a NUL in a trailer", "0\r\nX: \0\r\n\r\n"),
    chunked("a bare LF at the trailers' end", "0\r\nX: a\r\n\n"),
    chunked("10,000 trailers", "0\r\n" + String(repeating: "x: y\r\n", count: 10_000) + "\r\n"),
    chunked("a trailer of 33 KiB", "0\r\nx: " + String(repeating: "a", count: 33 << 10) + "\r\n\r\n"),
  ]
}
