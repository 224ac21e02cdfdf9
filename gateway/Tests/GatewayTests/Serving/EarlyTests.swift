import ClusterAPI
import ClusterTestSupport
import Glibc
import NIOHTTP1
import Synchronization
import Testing

@testable import Gateway

/// A socket as a worker makes it for a pod that is still starting: it listens, and nobody accepts until a test does.
private final class BareSocket: Sendable {
  let path: String
  private let fd: CInt
  private let ended = Atomic(false)

  init(_ path: String) throws {
    self.path = path
    fd = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let bound = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.bind(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    try #require(bound == 0 && listen(fd, 16) == 0)
  }

  deinit { end() }

  /// Whether a connection waits.
  var isAwaited: Bool {
    var poll = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
    return Glibc.poll(&poll, 1, 0) == 1
  }

  func accepted() -> CInt { accept(fd, nil, nil) }

  /// Stops listening: what waits is reset.
  func end() {
    guard !ended.exchange(true, ordering: .relaxed) else { return }
    close(fd)
    unlink(path)
  }
}

@Suite("Early requests")
struct EarlyTests {
  /// A gateway whose function had a pod, so that it is known how quickly pods start, and has none now; a call is under
  /// way, and has come as far as the socket of a pod that is starting.
  private func withEarlyCall(
    _ body: @escaping @Sendable (FakePlatform, BareSocket, Task<Answer, any Error>) async throws -> Void,
    request: [UInt8] = []
  ) async throws {
    try await withGateway([makeRoute()]) { (platform, _, clients) async throws in
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
      platform.state.withLock { $0.autoStart = false }
      platform.publish(makeEndpoint("u1", .gone))
      let socket = try BareSocket(platform.folder.path + "/early.s")
      let call = Task { try await clients.request(request.isEmpty ? .GET : .POST, "/function/echo", body: request) }
      #expect(await eventually { !platform.state.withLock { $0.wants.isEmpty } })
      platform.publish(makeEndpoint("early", .starting, socket: socket.path, listens: true))
      #expect(await eventually { socket.isAwaited })
      try await body(platform, socket, call)
    }
  }

  @Test(arguments: [[], Array("a small body".utf8)])
  func `a call is answered by the pod it was sent to before that was ready`(request: [UInt8]) async throws {
    try await withEarlyCall(
      { (platform, socket, call) async throws in
        let fd = socket.accepted()
        var bytes = [UInt8](repeating: 0, count: 65_536)
        var got: [UInt8] = []
        while !got.suffix(max(4, request.count)).elementsEqual(request.isEmpty ? Array("\r\n\r\n".utf8) : request) {
          let count = read(fd, &bytes, bytes.count)
          try #require(count > 0)
          got += bytes.prefix(count)
        }
        let answer = Array("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly".utf8)
        #expect(write(fd, answer, answer.count) == answer.count)
        let result = try await call.value
        #expect(result.status == 200 && result.text == "early")
        close(fd)
      }, request: request)
  }

  @Test(arguments: [false, true])
  func `a start that fails gives the call back, and another pod answers it once`(accepts: Bool) async throws {
    try await withEarlyCall { (platform, socket, call) async throws in
      // A pod that accepted and read nothing did not run it either.
      if accepts { close(socket.accepted()) }
      socket.end()
      platform.publish(makeEndpoint("early", .gone))
      let pod = await platform.startPod("echo", "echo-00001")
      #expect(try await call.value.status == 200)
      #expect(pod.counts.withLock { $0.heads.count } == 1)
    }
  }

  @Test func `a pod that read the call and died may have run it: the caller hears so`() async throws {
    try await withEarlyCall { (platform, socket, call) async throws in
      let fd = socket.accepted()
      var bytes = [UInt8](repeating: 0, count: 65_536)
      #expect(read(fd, &bytes, bytes.count) > 0)
      close(fd)
      socket.end()
      platform.publish(makeEndpoint("early", .gone))
      let pod = await platform.startPod("echo", "echo-00001")
      let answer = try await call.value
      #expect(answer.status == 502)
      #expect(answer.header("x-apus-error") == "pod_crashed")
      #expect(pod.counts.withLock { $0.heads.isEmpty })
    }
  }

  @Test func `a call with a large body waits until the pod is ready`() async throws {
    try await withGateway([makeRoute()]) { (platform, gateway, clients) async throws in
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
      platform.state.withLock { $0.autoStart = false }
      platform.publish(makeEndpoint("u1", .gone))
      let socket = try BareSocket(platform.folder.path + "/early.s")
      platform.publish(makeEndpoint("early", .starting, socket: socket.path, listens: true))
      let large = Task {
        try await clients.request(.POST, "/function/echo", body: [UInt8](repeating: 65, count: 100_000))
      }
      let depth = "apus_gateway_queue_depth{function=\"default/echo\"} 1"
      #expect(await eventually { gateway.metricsText().contains(depth) })
      #expect(!socket.isAwaited)
      await platform.startPod("echo", "echo-00001")
      #expect(try await large.value.status == 200)
      #expect(!socket.isAwaited)
    }
  }
}
