import ClusterAPI
import ClusterModel
import Foundation
import NIOCore
import Testing

@testable import Gateway

/// Holds the pages about the gateway to its code.
@Suite struct SurfaceTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  private func page(_ name: String) throws -> String {
    try String(contentsOf: Self.root.appending(path: name), encoding: .utf8)
  }

  @Test func `openapi.yaml names every code, every status and every path, and no other`() throws {
    let text = try page("openapi.yaml")
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    for code in CallErrorCode.allCases {
      #expect(lines.contains("        - \(code.rawValue)"), "\(code.rawValue) is missing in the schema")
      let described = lines.drop { !$0.hasPrefix("        \"\(code.status)\":") }.prefix(4).joined()
      #expect(described.contains(code.rawValue), "\(code.rawValue) is missing at \(code.status)")
    }
    let enumerated = lines.drop { $0 != "      enum:" }.dropFirst().filter { $0.hasPrefix("        - ") }
    #expect(enumerated.count == CallErrorCode.allCases.count)
    let paths = lines.filter { $0.hasPrefix("  /") && $0.hasSuffix(":") }.map { $0.dropFirst(2).dropLast() }
    #expect(
      paths == [
        "/healthz", "/function/{name}", "/function/{name}/{path}", "/async-function/{name}",
        "/async-function/{name}/{path}", "/async-result/{call}", "/2015-03-31/functions/{name}/invocations",
      ])
    for path in paths {
      let target = path.replacing("{name}", with: "a").replacing("{path}", with: "b/c").replacing("{call}", with: "c")
      let meaning = Array(target.utf8).withUnsafeBytes { FunctionTarget.parse($0, Span(start: 0, end: $0.count)) }
      #expect(meaning != .unknown)
    }
    #expect(text.contains("^[A-Za-z0-9._:-]{1,64}$"))
  }

  @Test func `the README names every metric and every limit with its value`() throws {
    let text = try page("README.md")
    let metrics = GatewayMetrics()
    var record = CallRecord(time: Timestamp(milliseconds: 0), text: CallText())
    record.status = 502
    record.code = .podCrashed
    record.cold = true
    record.firstByte = 3
    metrics.addUnrouted(record)
    let names = metrics.text([], log: nil).matches(of: /# TYPE (\S+)/).map { String($0.1) }
    #expect(names.count >= 15)
    for name in names { #expect(text.contains("`\(name)`"), "\(name) is missing") }
    let source = try page("Sources/Gateway/Balancing/GatewayLimits.swift")
    for limit in source.matches(of: /static let (\w+)/) {
      #expect(text.contains("`\(limit.1)`"), "\(limit.1) is missing")
    }
    #expect(GatewayLimits.headBytes == 32 * 1024 && GatewayLimits.headerCount == 100)
    #expect(GatewayLimits.heldBody == 64 * 1024 && GatewayLimits.requeues == 8 && GatewayLimits.replays == 1)
  }

  @Test func `an access record decodes to what was meant, whatever is in the path`() throws {
    let path = "/a\"b\\c\n\u{1}é"
    var record = CallRecord(
      time: Timestamp(milliseconds: 1_700_000_000_123), text: CallText(method: "GET", path: path, call: "c"))
    record.info = RouteInfo(makeRoute())
    record.pod = PodStart(makeEndpoint("a", .ready))
    record.status = 200
    record.duration = 1.26
    record.queued = .nan
    var line = ByteBuffer()
    var clock = TimeText()
    record.write(into: &line, clock: &clock)
    #expect(line.readableBytesView.last == 10)
    let decoded = try JSONDecoder().decode(LogRecord.self, from: Data(line.readableBytesView))
    #expect(decoded.call == "c" && decoded.function == "echo" && decoded.pod == "echo-00001-a" && decoded.node == "n1")
    #expect(decoded.time == record.time)
    #expect(decoded.msg == "GET /a\"b\\c\n\u{1}é 200 1.3ms")
    #expect(decoded.fields["path"] == .string(path))
    #expect(decoded.fields["duration_ms"] == .double(1.26))
    #expect(decoded.fields["queue_ms"] == .int(0) || decoded.fields["queue_ms"] == .double(0))
    #expect(decoded.level == .info)
  }

  @Test func `a log that takes nothing costs records, not memory, and tells how many`() {
    let log = AccessLog(source: "gateway/g", limit: 10)
    var clock = TimeText()
    for _ in 0..<25 { log.add(CallRecord(time: Timestamp(milliseconds: 0), text: CallText()), clock: &clock) }
    #expect(log.waiting == 10)
    #expect(log.dropped == 15)
  }
}
