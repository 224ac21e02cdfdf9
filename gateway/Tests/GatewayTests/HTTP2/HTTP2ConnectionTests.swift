import ClusterTestSupport
import Foundation
import NIOCore
import NIOHPACK
import NIOHTTP1
import NIOHTTP2
import NIOSSL
import Synchronization
import Testing

@testable import Gateway

/// Which protocol a connection speaks, how it is counted, and how it ends.
@Suite struct HTTP2ConnectionTests {
  @Test func `the preface may come byte by byte, and HTTP/1.1 stays on the same port`() async throws {
    try await withGateway([makeRoute()]) { (platform, gateway, clients) async throws in
      #expect(try await clients.request(.POST, "/function/echo", body: [1]).body == [1])
      let slow = try await ByteClient(port: clients.port)
      for byte in RawFrame.preface + RawFrame.settings.bytes { await slow.send([byte]) }
      await slow.send(RawFrame.get("/function/echo/slow", stream: 1).bytes)
      let answered = await eventually { slow.frames.contains { $0.stream == 1 && $0.type == 1 } }
      #expect(answered)
      #expect(slow.frames.first?.type == 4, "the gateway's own SETTINGS come first")
      await slow.close()
      // What begins like the preface and is none is read as HTTP/1.1, from its first byte.
      let (almost, _) = try await clients.raw("PRI * HTTP/2.0\r\n\r\nGET / HTTP/1.1\r\n\r\n")
      #expect(almost.hasPrefix("HTTP/1.1 400 "))
      let put = try await ByteClient(port: clients.port)
      for byte in "P" { await put.send(Array(String(byte).utf8)) }
      await put.send(Array("UT /function/echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nok".utf8))
      let text = await eventually { String(decoding: put.bytes, as: UTF8.self).hasSuffix("\r\n\r\nok") }
      #expect(text)
      await put.close()
      let counted = await eventually { gateway.metricsText().contains("apus_gateway_connections 0") }
      #expect(counted, "every connection is counted once, whatever it speaks")
    }
  }

  @Test func `connections of HTTP/2 count towards the most there may be`() async throws {
    try await withGateway([makeRoute()], configure: { $0.connectionsMax = 2 }) { (_, gateway, clients) async throws in
      let one = try await HTTP2Client.connect(port: clients.port)
      let two = try await HTTP2Client.connect(port: clients.port)
      #expect(try await one.request("GET", "/healthz").status == 200)
      #expect(try await two.request("GET", "/healthz").status == 200)
      #expect(gateway.metricsText().contains("apus_gateway_connections 2"))
      let (full, _) = try await clients.raw("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
      #expect(full.hasPrefix("HTTP/1.1 503 "))
      // It may be closed before it is connected, to its own mind.
      let third = try? await HTTP2Client.connect(port: clients.port)
      let refused = await eventually { third?.state.value.withLock { $0.closed } ?? true }
      #expect(refused)
      await one.close()
      let room = await eventually { gateway.metricsText().contains("apus_gateway_connections 1") }
      #expect(room)
      #expect(try await clients.request(.GET, "/healthz").status == 200)
      await two.close()
    }
  }

  @Test func `curl speaks it with prior knowledge`() async throws {
    try await withGateway([makeRoute(concurrency: 200, max: 1)]) { (platform, _, clients) async throws in
      let url = "http://127.0.0.1:\(clients.port)/function/echo"
      let version = try await Command.run("curl", ["-V"]).output
      try #require(version.contains("HTTP2"), "this curl does not speak HTTP/2")
      let flags = ["-sS", "--http2-prior-knowledge", "--max-time", "20"]
      let echo = try await Command.run("curl", flags + ["-d", "hello", "-w", " %{http_version} %{http_code}", url])
        .output
      #expect(echo == "hello 2 200")
      let head = try await Command.run("curl", flags + ["-I", url + "/x"]).output
      #expect(head.hasPrefix("HTTP/2 200") && head.contains("x-path: /x"))
      let file = platform.folder.path + "/body"
      try Data(repeating: 97, count: 3_000_000).write(to: URL(filePath: file))
      let big = try await Command.run(
        "curl", flags + ["-T", file, "-o", "/dev/null", "-w", "%{size_download} %{http_code}", url]
      ).output
      #expect(big == "3000000 200")
      // Over HTTP/1.1 an offer to upgrade is passed over.
      let upgrade = try await Command.run("curl", ["-sS", "--http2", "-d", "a", "-w", " %{http_version}", url]).output
      #expect(upgrade == "a 1.1")
    }
  }

  @Test func `over TLS the protocol is what was agreed on`() async throws {
    let folder = try TemporaryFolder("gw-tls")
    let (certificate, key) = (folder.path + "/c.pem", folder.path + "/k.pem")
    let made = try await Command.run(
      "openssl",
      [
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate,
      ])
    try #require(made.isSuccess, "\(made.output)")
    let chain = try NIOSSLCertificate.fromPEMFile(certificate).map { NIOSSLCertificateSource.certificate($0) }
    var server = TLSConfiguration.makeServerConfiguration(
      certificateChain: chain, privateKey: .privateKey(try NIOSSLPrivateKey(file: key, format: .pem)))
    server.applicationProtocols = ["h2", "http/1.1"]
    let context = try NIOSSLContext(configuration: server)
    try await withGateway(
      [makeRoute()],
      configure: {
        $0.serverTLS = context; $0.connectionsMax = 1
      }
    ) { (_, _, clients) async throws in
      let url = "https://localhost:\(clients.port)/function/echo"
      let flags = ["-sS", "--cacert", certificate, "--max-time", "20", "-w", " %{http_version}"]
      #expect(try await Command.run("curl", flags + ["--http2", "-d", "a", url]).output == "a 2")
      #expect(try await Command.run("curl", flags + ["--http1.1", "-d", "b", url]).output == "b 1.1")
      #expect(try await Command.run("curl", flags + ["--no-alpn", "-d", "c", url]).output == "c 1.1")
      var trust = TLSConfiguration.makeClientConfiguration()
      trust.trustRoots = .file(certificate)
      trust.certificateVerification = .noHostnameVerification
      trust.applicationProtocols = ["h2"]
      let client = try await HTTP2Client.connect(port: clients.port, tls: try NIOSSLContext(configuration: trust))
      let body = Array(repeating: UInt8(100), count: 1 << 20)
      #expect(try await client.request("POST", "/function/echo", body: body).body.count == body.count)
      let more = try await Command.run("curl", flags + ["--http1.1", "-d", "d", url])
      #expect(!more.isSuccess && !more.output.contains("timed out"), "one too many is closed at once: \(more.output)")
      await client.close()
    }
  }

  @Test func `at shutdown a client is told, its open streams end, and the connection closes`() async throws {
    let platform = try FakePlatform()
    platform.set(makeRoute(concurrency: 10))
    try await shutDownGracefully(platform) { clients, shutDown in
      let client = try await HTTP2Client.connect(port: clients.port)
      let idle = try await HTTP2Client.connect(port: clients.port)
      #expect(try await idle.request("GET", "/healthz").status == 200)
      let stream = try await client.open()
      stream.head("POST", "/function/echo/stream", end: false)
      let running = await eventually { platform.pod("u1")?.counts.withLock { $0.running } == 1 }
      #expect(running)
      shutDown()
      let told = await eventually { client.state.value.withLock { $0.goAways.count } == 2 }
      #expect(told, "first for any stream, then with the last one")
      let goAways = client.state.value.withLock { $0.goAways }
      #expect(goAways.map(\.last) == [Int(Int32.max), 1] && goAways.allSatisfy { $0.code == 0 }, "\(goAways)")
      let left = await eventually { idle.state.value.withLock { $0.closed } }
      #expect(left, "nothing was open on the other one")
      stream.data(Array("the end".utf8), end: true)
      let answer = await stream.result()
      #expect(answer.status == 200 && answer.text == "the end" && answer.ended)
      let closed = await eventually { client.state.value.withLock { $0.closed } }
      #expect(closed)
    }
    await platform.shutdown()
  }
}
