import ClusterTestSupport
import Foundation
import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

@testable import Gateway

/// Holds our reading of requests against another one, SwiftNIO's: what it refuses, ours refuses; where both read a
/// request, they read the same one.
@Suite struct OracleFuzzTests {
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
        // llhttp's name of it.
        request.method = head.method.rawValue == "MSEARCH" ? "M-SEARCH" : head.method.rawValue
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
    if text.lowercased().contains("upgrade") { return true }
    // A tab behind a value is none of it (RFC 9110, 5.5), and the framing is written anew; llhttp takes off blanks only.
    if text.lowercased().contains(/(chunked|content-length:[ \t]*[0-9]+)[ ]*\t/) { return true }
    let body = text.components(separatedBy: "\r\n\r\n").dropFirst().joined(separator: "\r\n\r\n").lowercased()
    // Fields that frame may not stand in trailers; ours throws them away (RFC 9110, 6.5.1), llhttp refuses them.
    if body.contains("content-length") || body.contains("transfer-encoding") { return true }
    // Ours throws extensions of chunks away without asking what they say (RFC 9112, 7.1.1); llhttp wants names and values.
    return body.contains(/[0-9a-f];/)
  }

  @Test func `mutated requests: what another reader refuses is refused here, and what both read is the same`() async {
    let seed = Soak.seed("oracle")
    var grammar = FuzzGrammar(random: SeededGenerator(seed: seed))
    let attacks = (SmugglingSet.heads + SmugglingSet.bodies).map(\.bytes).filter { $0.count < 1000 }
    var both = 0
    for await _ in Soak.repeats(20_000) {
      var bytes = grammar.request()
      bytes += grammar.chance(2) ? grammar.chunks().text : Array("hello".utf8)
      if grammar.chance(8) { bytes = attacks.randomElement(using: &grammar.random) ?? [] }
      if grammar.chance(2) { mutate(&bytes, &grammar.random) }
      guard bytes.count < 4000, case .request(let request) = ours(bytes) else { continue }
      let about = "seed \(seed): \(String(decoding: bytes, as: UTF8.self).debugDescription)"
      switch theirs(bytes) {
      case .request(let other):
        both += 1
        #expect(request == other, "\(about)")
      case .refused, .incomplete: #expect(mayPass(bytes), "\(about)")
      }
    }
    #expect(both > 1000, "too little is read by both: \(both)")
    print("oracle: \(both) requests read by both")
  }
}
