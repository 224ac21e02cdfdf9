import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import NIOCore
import NIOPosix
import NIOHTTP1
import Synchronization
import Testing

@testable import Gateway

/// `/async-result/CALL` and the socket for the server's own calls.
@Suite struct ResultTests {
  private static let token = "secret-token"
  private static let fingerprint = "sha256:930bbdc51b6aed5c2a5678fd6e28dee7a05e8a4b643cfc0b4427c3efb86c0d94"

  private func detail(_ id: String, _ state: CallState, owner: String?, status: Int? = nil) -> CallDetail {
    let time = Timestamp(milliseconds: 0)
    return CallDetail(
      call: CallSummary(id: id, namespace: "default", function: "echo", state: state, attempts: 1, enqueued: time),
      method: "POST", path: "/", bodyBytes: 0, callback: nil, callbackOutcome: nil,
      result: status.map {
        .init(
          status: $0,
          headers: [
            CallHeader("Content-Type", "text/x"), CallHeader("X-Function-Status", "lie"), CallHeader("A", "b"),
          ],
          body: Data("did it".utf8), truncated: id == "cut", seconds: 0.5)
      }, owner: owner)
  }

  @Test func `a call carries the fingerprint of its bearer token, and its answer says where the result will be`()
    async throws
  {
    let queue = FakeQueue()
    try await withGateway([makeRoute()], calls: queue) { _, _, clients in
      let sent: [(fields: [(String, String)], owner: String?)] = [
        ([("authorization", "Bearer secret-token")], Self.fingerprint),
        ([("Authorization", "bEARER   secret-token")], Self.fingerprint),
        ([("authorization", "Basic c2VjcmV0LXRva2Vu")], nil), ([], nil), ([("authorization", "Bearer ")], nil),
        ([("authorization", "Bearer secret-token"), ("authorization", "Bearer other")], nil),
      ]
      for (fields, owner) in sent {
        let answer = try await clients.request(.POST, "/async-function/echo", fields)
        #expect(answer.status == 202)
        #expect(queue.calls.last?.head.owner == owner, "\(fields)")
        let id = answer.header("x-call-id") ?? ""
        #expect(answer.header("location") == (owner == nil ? nil : "/async-result/\(id)"))
      }
    }
  }

  @Test func `a result is shown to the credential that sent the call, and to no other`() async throws {
    let queue = FakeQueue()
    queue.state.withLock { state in
      for (id, call) in [
        ("mine", detail("mine", .done, owner: Self.fingerprint, status: 500)),
        ("cut", detail("cut", .dead, owner: Self.fingerprint, status: 200)),
        ("waits", detail("waits", .retrying, owner: Self.fingerprint, status: 503)),
        ("unanswered", detail("unanswered", .dead, owner: Self.fingerprint)),
        ("other", detail("other", .done, owner: "sha256:00", status: 200)),
        ("nobody", detail("nobody", .done, owner: nil, status: 200)),
      ] { state.details[id] = call }
    }
    let bearer = [("authorization", "Bearer \(Self.token)")]
    try await withGateway([makeRoute()], calls: queue) { _, _, clients in
      let mine = try await clients.request(.GET, "/async-result/mine", bearer)
      #expect(mine.status == 200 && mine.text == "did it" && mine.header("x-call-state") == "done")
      #expect(mine.headers["x-function-status"] == ["500"] && mine.header("a") == "b")
      #expect(mine.header("content-type") == "text/x" && mine.header("x-call-id") == "mine")
      #expect(mine.header("x-apus-error") == nil && mine.header("x-result-truncated") == nil)
      let cut = try await clients.request(.GET, "/async-result/cut?x=y", bearer)
      #expect(cut.header("x-call-state") == "dead" && cut.header("x-result-truncated") == "true")
      let waits = try await clients.request(.GET, "/async-result/waits", bearer)
      #expect(waits.status == 202 && waits.body.isEmpty && waits.header("retry-after") == "1")
      #expect(waits.header("x-call-state") == "retrying" && waits.header("x-function-status") == nil)
      let unanswered = try await clients.request(.GET, "/async-result/unanswered", bearer)
      #expect(unanswered.status == 200 && unanswered.body.isEmpty && unanswered.header("x-function-status") == nil)
      for id in ["other", "nobody", "none"] {
        let answer = try await clients.request(.GET, "/async-result/\(id)", bearer)
        #expect(answer.status == 404 && answer.header("x-apus-error") == "call_not_found", "\(id)")
      }
      for fields in [[], [("authorization", "Bearer other")], [("authorization", "Basic \(Self.token)")]] {
        let answer = try await clients.request(.GET, "/async-result/mine", fields)
        #expect(
          answer.status == 404 && answer.header("x-apus-error") == "call_not_found" && !answer.text.contains("did"))
      }
      let post = try await clients.request(.POST, "/async-result/mine", bearer)
      #expect(post.status == 405 && post.header("allow") == "GET, HEAD")
      #expect(try await clients.request(.GET, "/async-result/", bearer).status == 404)
      #expect(try await clients.request(.GET, "/async-result/a%20b", bearer).status == 404)
      let two = try await clients.raw(
        "GET /async-result/mine HTTP/1.1\r\nhost: h\r\n\(bearer[0].0): \(bearer[0].1)\r\n\r\n"
          + "HEAD /async-result/mine HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\(bearer[0].0): \(bearer[0].1)\r\n\r\n"
      )
      #expect(two.0.components(separatedBy: "did it").count == 2 && two.closed)
      queue.state.withLock { $0.refusal = .unavailable("gone") }
      let gone = try await clients.request(.GET, "/async-result/mine", bearer)
      #expect(gone.status == 503 && gone.header("x-apus-error") == "no_control_plane")
    }
  }

  @Test func `the server's own socket answers for every function and lets its fields pass; the port does neither`()
    async throws
  {
    let folder = try TemporaryFolder()
    let socket = folder.path + "/own.sock"
    var route = makeRoute()
    route.isPublic = false
    try await withGateway(
      [route],
      configure: {
        $0.ownSocket = socket; $0.publicOnly = true
      }
    ) { platform, _, clients in
      #expect(try await clients.request(.GET, "/function/echo").status == 403)
      let inbox = RawInbox()
      let channel = try await clients.bootstrap(inbox).connect(unixDomainSocketPath: socket).get()
      try await channel.writeAndFlush(
        ByteBuffer(
          string: "GET /function/echo/x HTTP/1.1\r\nhost: h\r\nx-apus-schedule: tick\r\nconnection: close\r\n\r\n"))
      #expect(await eventually { inbox.state.withLock { $0.closed } })
      let text = String(decoding: inbox.state.withLock { $0.bytes }, as: UTF8.self)
      #expect(text.hasPrefix("HTTP/1.1 200 "), "\(text)")
      let heads = platform.pod("u1")?.counts.withLock { $0.heads } ?? []
      #expect(heads.last?.headers["x-apus-schedule"] == ["tick"] && heads.last?.uri == "/x")
      #expect(heads.last?.headers["x-forwarded-for"] == ["127.0.0.1"])
      try? await channel.close()
    }
  }
}
