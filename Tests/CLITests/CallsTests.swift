import ArgumentParser
import ClusterAPI
import ClusterModel
import Foundation
import Testing

@testable import apus

/// What `apus calls` prints, and the flags a server takes about calls.
@Suite struct CallsTests {
  private let taken = Timestamp(milliseconds: 1_800_000_000_000)

  private var dead: CallSummary {
    CallSummary(
      id: "c-1", namespace: "default", function: "greet", state: .dead, attempts: 5, enqueued: taken,
      ended: taken.advanced(milliseconds: 9000), status: 500, reason: "5 attempts\u{1b}[31m")
  }

  @Test func `calls are listed with what went wrong, control characters made visible`() {
    let text = CallsList.table([dead], now: taken.advanced(milliseconds: 30_000)).text(wide: false)
    #expect(
      text == """
        CALL  FUNCTION  STATE  STATUS  ATTEMPTS  AGE  WHY
        c-1   greet     dead   500     5         30s  5 attempts\\x1b[31m

        """)
  }

  @Test func `a call is shown with its answer`() {
    let detail = CallDetail(
      call: dead, method: "POST", path: "/a", bodyBytes: 3, callback: "http://x/", callbackOutcome: "sent",
      result: .init(
        status: 500, headers: [CallHeader("Content-Type", "text/plain")], body: Data("oh\nno".utf8), truncated: true,
        seconds: 0.25), owner: "sha256:" + String(repeating: "ab", count: 32))
    let text = CallsShow.text(detail)
    #expect(text.contains("Sender:    the credential sha256:abababababab…\n"))
    #expect(text.contains("Request:   POST /a, 3 B\n") && text.contains("Callback:  http://x/, sent\n"))
    #expect(text.hasSuffix("HTTP 500 after 250ms\nContent-Type: text/plain\n\noh\nno\n(the rest was not kept)\n"))
  }

  @Test func `an asynchronous call is a POST, with a body or without`() throws {
    #expect(try Invoke.parse(["greet", "--async"]).isAsync)
    #expect(try Invoke.parse(["greet", "--async", "-X", "post", "-d", "a"]).isAsync)
    #expect(throws: (any Error).self) { try Invoke.parse(["greet", "--async", "-X", "GET"]) }
  }

  @Test func `a path becomes the host of a URL and back`() {
    let path = "/tmp/a b/ü%/gateway.sock"
    let escaped = CallGateway.escaped(path)
    #expect(escaped.removingPercentEncoding == path && !escaped.contains("/") && !escaped.contains(" "))
  }

  @Test func `a server refuses ranges and spans that are none, and hands on the others`() throws {
    let options = try CallOptions.parse(["--callback-allow", "10.0.0.0/8", "--callback-allow", "::1"])
    #expect(options.flags == ["--callback-allow", "10.0.0.0/8", "--callback-allow", "::1", "--call-results", "1h"])
    #expect(throws: (any Error).self) { try CallOptions.parse(["--callback-allow", "10.0.0.0/40"]) }
    #expect(throws: (any Error).self) { try CallOptions.parse(["--call-results", "40d"]) }
    #expect(throws: (any Error).self) { try CallOptions.parse(["--call-results", "soon"]) }
  }
}
