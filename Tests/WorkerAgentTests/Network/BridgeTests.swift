import ClusterModel
import ClusterTestSupport
import Foundation
import NIOCore
import NIOPosix
import NIOSSL
import Testing

@testable import WorkerAgent

@Suite("Port bridge and entry")
struct BridgeTests {
  static let group = MultiThreadedEventLoopGroup.singleton

  @Test func `bytes go both ways through the bridge, and a half-close is passed on`() async throws {
    let folder = try TemporaryFolder()
    let echo = try await EchoServer.bootstrap.bind(host: "127.0.0.1", port: 0).get()
    let path = "\(folder.path)/p.s"
    let bridge = try await PortBridge(
      listener: Descriptors.listen(at: path), pod: LoopbackPod(port: echo.localAddress?.port), port: 8080,
      group: Self.group)
    bridge.open()
    let client = try await TestConnection(socket: path)
    try await client.send("hello")
    #expect(await eventually { client.text == "hello" })
    try await client.finish()
    #expect(await eventually { client.text == "hellobye" && client.ended })
    await bridge.close()
    try await echo.close()
  }

  @Test func `the connection that found the port open is the first client's, and those after it get their own`()
    async throws
  {
    let folder = try TemporaryFolder()
    let echo = try await EchoServer.bootstrap.bind(host: "127.0.0.1", port: 0).get()
    let path = "\(folder.path)/p.s"
    let found = try #require(try await LoopbackPod(port: echo.localAddress?.port).connect(port: 8080))
    // A pod that takes no more connections: only one that was made before can carry the first client.
    let bridge = try await PortBridge(
      listener: Descriptors.listen(at: path), pod: LoopbackPod(port: nil), port: 8080, group: Self.group)
    bridge.open(with: found, keptFor: 60_000)
    let first = try await TestConnection(socket: path)
    try await first.send("hello")
    #expect(await eventually { first.text == "hello" })
    let second = try await TestConnection(socket: path)
    #expect(await eventually { second.ended })
    try await first.finish()
    #expect(await eventually { first.text == "hellobye" })
    await bridge.close()
    try await echo.close()
  }

  @Test func `a client that comes before the pod listens is served once it does`() async throws {
    let folder = try TemporaryFolder()
    let echo = try await EchoServer.bootstrap.bind(host: "127.0.0.1", port: 0).get()
    let path = "\(folder.path)/p.s"
    let pod = LoopbackPod(port: echo.localAddress?.port)
    let bridge = try await PortBridge(
      listener: Descriptors.listen(at: path), pod: pod, port: 8080, group: Self.group)
    let early = try await TestConnection(socket: path)
    try await early.send("hello")
    bridge.open(with: try await pod.firstConnection(port: 8080, expected: nil))
    #expect(await eventually { early.text == "hello" })
    await bridge.close()
    try await echo.close()
  }

  @Test func `a client of a pod that never listened hears that it was not read`() async throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/p.s"
    let bridge = try await PortBridge(
      listener: Descriptors.listen(at: path), pod: LoopbackPod(port: nil), port: 8080, group: Self.group)
    let fd = Self.connected(path)
    defer { close(fd) }
    #expect(Glibc.write(fd, "hello", 5) == 5)
    await bridge.close()
    var byte: UInt8 = 0
    let count = read(fd, &byte, 1)
    #expect(count == -1 && errno == ECONNRESET)
  }

  @Test func `a slow reader holds the sender back and gets every byte`() async throws {
    let folder = try TemporaryFolder()
    let echo = try await EchoServer.bootstrap.bind(host: "127.0.0.1", port: 0).get()
    let path = "\(folder.path)/p.s"
    let bridge = try await PortBridge(
      listener: Descriptors.listen(at: path), pod: LoopbackPod(port: echo.localAddress?.port), port: 8080,
      group: Self.group)
    bridge.open()
    let client = try await TestConnection(socket: path)
    let bytes = (0..<(4 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
    try await client.pause(true)
    let sending = Task { try await client.send(bytes) }
    try await client.pause(false)
    try await sending.value
    try await client.finish()
    #expect(await eventually(within: .seconds(20)) { client.ended })
    #expect(client.received.count == bytes.count + 3)
    #expect(client.received.prefix(bytes.count).elementsEqual(bytes))
    await bridge.close()
    try await echo.close()
  }

  @Test func `a burst of connections finds room while the loop is busy`() async throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/p.s"
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let bridge = try await PortBridge(
      listener: Descriptors.listen(at: path), pod: LoopbackPod(port: nil), port: 8080, group: group)
    bridge.open()
    let (busy, free) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
    group.next().execute {
      busy.signal()
      free.wait()
    }
    busy.wait()
    let sockets = (0..<600).map { _ in Self.connected(path) }
    free.signal()
    #expect(sockets.count { $0 >= 0 } == 600, "the rest met EAGAIN")
    for fd in sockets where fd >= 0 { close(fd) }
    await bridge.close()
    try await group.shutdownGracefully()
  }

  /// A socket that is connected at once; -1 when it cannot be.
  private static func connected(_ path: String) -> CInt {
    let fd = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_NONBLOCK.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let done = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(fd, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard done == 0 else {
      close(fd)
      return -1
    }
    return fd
  }

  @Test func `a connection whose pod does not listen is closed`() async throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/p.s"
    let bridge = try await PortBridge(
      listener: Descriptors.listen(at: path), pod: LoopbackPod(port: nil), port: 8080, group: Self.group)
    bridge.open()
    let client = try await TestConnection(socket: path)
    #expect(await eventually { client.ended })
    await bridge.close()
  }

  /// Runs `body` with an entry that knows one pod, `pod-1`, whose socket echoes, and one that does not listen.
  ///
  /// It waits long for a line: a test that gets no turn on a busy machine is no slow client.
  private func withEntry(
    tls: NIOSSLContext? = nil, lineTimeout: TimeAmount = .minutes(10), _ body: (EntryServer) async throws -> Void
  ) async throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/p.s"
    let echo = try await EchoServer.bootstrap.bind(unixDomainSocketPath: path).get()
    let entry = try await EntryServer(
      host: "127.0.0.1", port: 0, tls: { tls.map { EntryTLS(context: $0) { _ in true } } }, group: Self.group,
      lineTimeout: lineTimeout
    ) { uid in
      ["pod-1": path, "pod-2": "\(folder.path)/nobody.s"][uid]
    }
    var failure: (any Error)?
    do { try await body(entry) } catch { failure = error }
    await entry.close()
    try await echo.close()
    if let failure { throw failure }
  }

  @Test func `CONNECT opens the pod's socket and then passes bytes both ways`() async throws {
    try await withEntry { entry in
      let client = try await TestConnection(port: entry.port)
      try await client.send("CONNECT pod-1\n")
      #expect(await eventually { client.text == "OK\n" })
      try await client.send("GET / HTTP/1.1\r\n")
      #expect(await eventually { client.text == "OK\nGET / HTTP/1.1\r\n" })
      try await client.finish()
      #expect(await eventually { client.text.hasSuffix("bye") && client.ended })
    }
  }

  @Test func `bytes sent right behind the line are not lost`() async throws {
    try await withEntry { entry in
      let client = try await TestConnection(port: entry.port)
      try await client.send("CONNECT pod-1\nfirst")
      try await client.send(" second")
      try await client.finish()
      #expect(await eventually { client.text == "OK\nfirst secondbye" })
    }
  }

  @Test func `what cannot be connected is refused with its reason`() async throws {
    try await withEntry { entry in
      for (line, answer) in [
        ("CONNECT pod-9\n", "ERR unknown_pod\n"), ("CONNECT pod-2\n", "ERR not_listening\n"),
        ("GET / HTTP/1.1\n", "ERR bad_request\n"), (String(repeating: "x", count: 500), "ERR bad_request\n"),
      ] {
        let client = try await TestConnection(port: entry.port)
        try await client.send(line)
        #expect(await eventually { client.text == answer && client.ended }, "\(line)")
      }
    }
  }

  @Test func `a connection that says nothing, or half a line, is closed`() async throws {
    try await withEntry(lineTimeout: .milliseconds(20)) { entry in
      for said in ["", "CONNECT pod"] {
        let client = try await TestConnection(port: entry.port)
        try? await client.send(said)
        #expect(await eventually { client.ended }, "\(said)")
        #expect(client.text == "")
      }
    }
  }

  @Test func `a probe is answered in HTTP`() async throws {
    try await withEntry { entry in
      let client = try await TestConnection(port: entry.port)
      try await client.send("GET /healthz HTTP/1.1\r\nHost: worker\r\n\r\n")
      #expect(
        await eventually { client.text.hasPrefix("HTTP/1.1 200 OK\r\n") && client.text.hasSuffix("\r\n\r\nok\n") })
      #expect(await eventually { client.ended })
      try await client.finish()
    }
  }

  @Test func `over TLS a gateway of the cluster gets in, half-closes included, and nobody else does`() async throws {
    try await withEntry(tls: TestCertificates.server()) { entry in
      let gateway = try TestCertificates.client(TestCertificates.gateway, TestCertificates.gatewayKey)
      let client = try await TestConnection(port: entry.port, tls: gateway)
      try await client.send("CONNECT pod-1\n")
      #expect(await eventually { client.text == "OK\n" })
      try await client.send("hello")
      #expect(await eventually { client.text == "OK\nhello" })
      try await client.finish()
      #expect(await eventually { client.text == "OK\nhellobye" && client.ended })
      for outsider in [
        try TestCertificates.client(nil, nil),
        try TestCertificates.client(TestCertificates.intruder, TestCertificates.intruderKey),
      ] {
        let intruder = try await TestConnection(port: entry.port, tls: outsider)
        try? await intruder.send("CONNECT pod-1\n")
        #expect(await eventually { intruder.ended })
        #expect(intruder.text == "")
      }
      let plain = try await TestConnection(port: entry.port)
      try await plain.send("CONNECT pod-1\n")
      #expect(await eventually { plain.ended })
      #expect(!plain.text.contains("OK"))
    }
  }

  @Test func `a probe reads the status line and nothing else counts`() async throws {
    let folder = try TemporaryFolder()
    func probe(timeout: String) throws -> HTTPProbe {
      let json = #"{"path":"/healthz","period":"1s","timeout":"\#(timeout)","failures":1}"#
      return try JSONDecoder().decode(HTTPProbe.self, from: Data(json.utf8))
    }
    for (answer, expected) in [
      ("HTTP/1.1 204 No Content\r\n\r\n", nil), ("HTTP/1.1 302 Found\r\n\r\n", nil),
      ("HTTP/1.1 503 Busy\r\n\r\n", "status 503"), ("nonsense\n", "the answer is not HTTP"),
      ("", "no answer within 300ms"),
    ] as [(String, String?)] {
      let path = "\(folder.path)/probe.s"
      let server = try await ServerBootstrap(group: Self.group)
        .childChannelInitializer { channel in
          if !answer.isEmpty { channel.writeAndFlush(ByteBuffer(string: answer), promise: nil) }
          return channel.eventLoop.makeSucceededVoidFuture()
        }
        .bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
      // Only the one that gets no answer waits for the end of its time.
      let probe = try probe(timeout: answer.isEmpty ? "300ms" : "60s")
      #expect(await ProbeClient.check(probe, socket: path, Self.group) == expected)
      try await server.close()
    }
    #expect(try await ProbeClient.check(probe(timeout: "60s"), socket: "\(folder.path)/nobody.s", Self.group) != nil)
  }
}
