import ClusterTestSupport
import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

@testable import Gateway

/// Holds our reading of requests against another one, SwiftNIO's: what it refuses, ours refuses; where both read a
/// request, they read the same one.
@Suite struct OracleTests {
  /// What a reader makes of the first request in some bytes.
  private struct Request: Equatable {
    var method = ""
    var target = ""
    var fields: [String] = []
    var body: [UInt8] = []
  }

  private enum Reading: Equatable {
    case refused
    case incomplete
    case request(Request)
  }

  private func theirs(_ bytes: [UInt8]) -> Reading {
    let channel = EmbeddedChannel()
    defer { _ = try? channel.finish(acceptAlreadyClosed: true) }
    var request = Request()
    do {
      let decoder = ByteToMessageHandler(HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes))
      try channel.pipeline.syncOperations.addHandler(decoder)
      try channel.writeInbound(ByteBuffer(bytes: bytes))
    } catch { return finished(channel, &request) ?? .refused }
    return finished(channel, &request) ?? .incomplete
  }

  private static func trimmed(_ value: String) -> String {
    let end = value.utf8.lastIndex { $0 != 32 && $0 != 9 }
    return end.map { String(value[...$0]) } ?? ""
  }

  private func finished(_ channel: EmbeddedChannel, _ request: inout Request) -> Reading? {
    while let part = try? channel.readInbound(as: HTTPServerRequestPart.self) {
      switch part {
      case .head(let head):
        request.method = head.method.rawValue
        request.target = head.uri
        // llhttp leaves blanks behind a value (RFC 9110, 5.5, takes them off).
        request.fields = head.headers.map { "\($0.name.lowercased()):\(Self.trimmed($0.value))" }
      case .body(let body): request.body += Array(body.readableBytesView)
      case .end: return .request(request)
      }
    }
    return nil
  }

  private func ours(_ bytes: [UInt8]) -> Reading {
    let read = ReadHead(bytes)
    if read.refusal != nil { return .refused }
    guard let length = read.length else { return .incomplete }
    var request = Request()
    bytes.withUnsafeBytes { all in
      request.method = read.head.method.text(all)
      request.target =
        (read.lines.startLine ?? .none).text(all).split(separator: " ").dropFirst().first.map(String.init) ?? ""
      request.fields = read.lines.fields.map { "\($0.name.text(all).lowercased()):\($0.value.text(all))" }
    }
    let body = ReadBody(read.head.framing, Array(bytes[length...]))
    if body.failed { return .refused }
    request.body = body.bytes
    return body.ended || read.head.framing == .none || read.head.framing == .length(0) ? .request(request) : .incomplete
  }

  /// What theirs refuses and ours reads, on purpose. Each with its reason.
  private func mayPass(_ bytes: [UInt8]) -> Bool {
    let text = String(decoding: bytes, as: UTF8.self)
    let method = text.prefix { $0 != " " }
    // A method is any token (RFC 9110, 9.1): the function decides; llhttp has a list of names.
    if !["GET", "POST"].contains(method) { return true }
    // The version of the protocol is checked by ours before, and llhttp wants hosts and ports of absolute targets valid;
    // ours looks at them with the field's rules.
    if text.lowercased().contains(" http") && !text.hasPrefix("\(method) /") { return true }
    // llhttp refuses an unknown value of Upgrade or Connection together with a body; ours reads the body.
    return text.lowercased().contains("upgrade")
  }

  @Test func `what another reader refuses is refused here, and what both read is the same`() {
    var random = SeededGenerator(seed: Soak.seed("oracle"))
    let seeds = [
      "POST /function/echo?a=b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX-A: b c\r\n\r\nhello",
      "POST /function/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: v\r\n\r\n",
      "GET /a HTTP/1.1\r\nhost: h\r\nConnection: close\r\nAccept: */*\r\n\r\n",
      "GET / HTTP/1.0\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
    ].map { Array($0.utf8) }
    var both = 0
    for _ in 0..<Soak.rounds(20_000) {
      var bytes = seeds.randomElement(using: &random) ?? []
      mutate(&bytes, &random)
      let mine = ours(bytes)
      guard case .request(let request) = mine else { continue }
      switch theirs(bytes) {
      case .request(let other):
        both += 1
        #expect(request == other, "seed \(random.seed): \(String(decoding: bytes, as: UTF8.self).debugDescription)")
      case .refused, .incomplete:
        #expect(mayPass(bytes), "seed \(random.seed): \(String(decoding: bytes, as: UTF8.self).debugDescription)")
      }
    }
    #expect(both > 1000)
  }
}
