import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import NIOHTTP1
import Synchronization
import Testing

@testable import Gateway

/// `POST /2015-03-31/functions/NAME/invocations`: calls as AWS Lambda's clients make them.
@Suite struct InvokeTests {
  private static let path = "/2015-03-31/functions/echo/invocations"
  private static let signature = "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=c"

  @Test(arguments: [
    "echo", "echo.default", "echo:$LATEST", "echo%3A%24LATEST", "000000000000:function:echo",
    "000000000000%3afunction%3aecho:$LATEST", "arn:aws:lambda:us-east-1:000000000000:function:echo",
    "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Aecho.default%3A%24LATEST",
  ])
  func `a function is found by its name, by an ARN and by a part of one`(_ name: String) async throws {
    try await withGateway([makeRoute()]) { platform, _, clients in
      let answer = try await clients.request(
        .POST, "/2015-03-31/functions/\(name)/invocations?Qualifier=%24LATEST", [("authorization", Self.signature)],
        body: Array("{}".utf8))
      #expect(answer.status == 200 && answer.body == Array("{}".utf8))
      #expect(answer.header("x-amz-executed-version") == "echo-00001")
      #expect(answer.header("x-amzn-requestid") == answer.header("x-call-id"))
      #expect(answer.header("x-amz-function-error") == nil && answer.header("x-function-status") == nil)
      let head = try #require(platform.pod("u1")?.counts.withLock { $0.heads.last })
      #expect(head.uri == "/" && head.method == .POST && !head.headers.contains(name: "authorization"))
      #expect(head.headers.first(name: "x-forwarded-prefix") == "/2015-03-31/functions/\(name)/invocations")
    }
  }

  @Test(arguments: [
    "echo:1", "echo:$LATEST:x", "other:echo", "arn:aws:s3:r:a:function:echo", "arn:aws:lambda:r:a:layer:echo", "ECHO",
    "echo.", "a:b:echo", "", "echo%2F", "ech%6F",
  ])
  func `a name that is none, and a version, are not found`(_ name: String) async throws {
    try await withGateway([makeRoute()]) { platform, _, clients in
      let answer = try await clients.request(.POST, "/2015-03-31/functions/\(name)/invocations")
      #expect(answer.status == 404)
      let versioned = try await clients.request(.POST, Self.path + "?Qualifier=7")
      #expect(versioned.status == 404)
      #expect(platform.state.withLock { $0.pods.isEmpty })
    }
  }

  @Test func `whatever a function answers is a 200 that says what it was`() async throws {
    try await withGateway([makeRoute()]) { _, _, clients in
      let connection = try await clients.connect()
      let failed = try await connection.request(.POST, Self.path, [("x-fake", "/fails")])
      #expect(failed.status == 200 && failed.body == Array("fail".utf8))
      #expect(failed.header("x-amz-function-error") == "Unhandled" && failed.header("x-function-status") == "500")
      #expect(failed.header("x-function-error") == "Oops" && failed.header("x-amz-executed-version") == "echo-00001")
      let empty = try await connection.request(.POST, Self.path, [("x-fake", "/no-content")])
      #expect(empty.status == 200 && empty.header("content-length") == "0" && empty.body.isEmpty)
      #expect(empty.header("x-function-status") == "204" && empty.header("x-amz-function-error") == nil)
      let pieces = try await connection.request(.POST, Self.path, [("x-fake", "/chunked")])
      #expect(pieces.status == 200 && pieces.body == Array("one,two,three".utf8))
      // The next request of the connection is an ordinary one again.
      let plain = try await connection.request(.POST, "/function/echo/fails")
      #expect(plain.status == 500 && plain.header("x-amz-function-error") == nil)
      let upgrade = try await clients.request(.POST, Self.path, [("connection", "upgrade"), ("upgrade", "x")])
      #expect(upgrade.status == 200)
      let died = try await clients.request(.POST, Self.path, [("x-fake", "/die")])
      #expect(died.status == 200 && died.header("x-amz-function-error") == "Unhandled")
      #expect(died.header("x-apus-error") == "pod_crashed")
      #expect(String(decoding: died.body, as: UTF8.self).contains(#""errorType":"Runtime.ExitError""#))
    }
  }

  @Test func `errors have the shape that SDKs read`() async throws {
    try await withGateway([makeRoute(maxBody: 10)]) { _, _, clients in
      let missing = try await clients.request(.POST, "/2015-03-31/functions/none/invocations")
      #expect(missing.status == 404 && missing.header("x-amzn-errortype") == "ResourceNotFoundException")
      #expect(missing.header("x-amzn-requestid") == missing.header("x-call-id"))
      let body = String(decoding: missing.body, as: UTF8.self)
      #expect(body.contains(#""Type":"User""#) && body.contains(#""Message":"no function \"none\""#))
      let large = try await clients.request(.POST, Self.path, body: Array(repeating: 97, count: 11))
      #expect(large.status == 413 && large.header("x-amzn-errortype") == "RequestTooLargeException")
      let wrong = try await clients.request(.GET, Self.path)
      #expect(wrong.status == 405 && wrong.header("allow") == "POST")
      let kind = try await clients.request(.POST, Self.path, [("x-amz-invocation-type", "Sometime")])
      #expect(kind.status == 400 && kind.header("x-amzn-errortype") == "InvalidRequestContentException")
      let twice = try await clients.request(
        .POST, Self.path, [("x-amz-invocation-type", "Event"), ("x-amz-invocation-type", "DryRun")])
      #expect(twice.status == 400)
    }
  }

  @Test func `an event is kept for later, and a dry run runs nothing`() async throws {
    let queue = FakeQueue()
    try await withGateway([makeRoute()], calls: queue) { platform, _, clients in
      let connection = try await clients.connect()
      let kept = try await connection.request(
        .POST, Self.path, [("X-Amz-Invocation-Type", "Event"), ("authorization", Self.signature)],
        body: Array("later".utf8))
      #expect(kept.status == 202 && kept.header("x-amzn-requestid") == queue.calls.first?.head.id)
      let call = try #require(queue.calls.first)
      #expect(call.body == Array("later".utf8) && call.head.function == "echo" && call.head.method == "POST")
      #expect(!call.head.headers.contains { $0.name.lowercased() == "authorization" })
      let dry = try await connection.request(.POST, Self.path, [("X-Amz-Invocation-Type", "DryRun")], body: [1, 2, 3])
      #expect(dry.status == 204 && dry.header("x-amzn-requestid")?.isEmpty == false)
      #expect(dry.header("content-length") == nil)
      let none = try await connection.request(
        .POST, "/2015-03-31/functions/none/invocations", [("X-Amz-Invocation-Type", "DryRun")])
      #expect(none.status == 404)
      #expect(platform.state.withLock { $0.pods.isEmpty })
    }
  }

  @Test func `a token may be the session token of a client that signs, and ends here`() async throws {
    let token = TestToken(1)
    let platform = try FakePlatform()
    platform.set([token])
    let path = "/2015-03-31/functions/closed/invocations"
    try await withGateway([makeRoute("closed", needsToken: true)], platform: platform) {
      (platform, _, clients) async throws in
      let signed = [("authorization", Self.signature), ("x-amz-security-token", token.text)]
      #expect(await eventually { (try? await clients.request(.POST, path, signed).status) == 200 })
      let head = try #require(platform.pod("u1")?.counts.withLock { $0.heads.last })
      #expect(!head.headers.contains(name: "x-amz-security-token") && !head.headers.contains(name: "authorization"))
      #expect(try await clients.request(.POST, path, token.field).status == 200)
      let none = try await clients.request(.POST, path, [("authorization", Self.signature)])
      #expect(none.status == 401 && none.header("x-amzn-errortype") == "AccessDeniedException")
      let wrong = try await clients.request(.POST, path, [("x-amz-security-token", token.text + "x")])
      #expect(wrong.status == 401)
      // Elsewhere that field is the function's.
      #expect(try await clients.request(.POST, "/function/closed", signed).status == 401)
    }
  }

  @Test(arguments: 0..<8) func `mutated names are a function's or nothing`(_ seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let whole =
      "/2015-03-31/functions/arn:aws:lambda:r%3A0%3afunction:echo.team:$LATEST/invocations?Qualifier=%24LATEST"
    var found = 0
    for _ in 0..<5000 {
      var bytes = Array(whole.utf8)
      for _ in 0..<Int.random(in: 0...2, using: &random) {
        let index = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: bytes[index] = UInt8.random(in: 33...126, using: &random)
        case 1: bytes.remove(at: index)
        default: bytes.insert(Array("%:.a/3A$".utf8).randomElement(using: &random) ?? 97, at: index)
        }
      }
      bytes.withUnsafeBytes { bytes in
        let meaning = FunctionTarget.parse(bytes, Span(start: 0, end: bytes.count))
        guard case .invoke(let target) = meaning else { return }
        found += 1
        let label = target.label.text(bytes)
        #expect(label.wholeMatch(of: /[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})?/) != nil, "\(label)")
        #expect(target.rest.isEmpty && target.prefix.text(bytes).hasSuffix("/invocations"))
      }
    }
    #expect((500..<4900).contains(found), "\(found)")
  }

  @Test func `every code has its words there`() {
    for code in CallErrorCode.allCases {
      let failure = InvokeFailure(code)
      #expect(failure.isFunctions == (failure.status == 200))
      #expect(failure.isFunctions || (failure.status == code.status && failure.type.hasSuffix("Exception")))
    }
    #expect(InvokeFailure(.functionTimeout).type == "Sandbox.Timedout")
    #expect(InvokeFailure(.queueFull).type == "TooManyRequestsException")
  }
}
