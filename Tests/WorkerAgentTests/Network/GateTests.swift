import ClusterTestSupport
import Foundation
import Glibc
import NIOCore
import NIOPosix
import Testing

@testable import WorkerAgent

/// The way from a pod to a gateway, without a pod: a listening socket stands for the one inside.
@Suite("Pod gate")
struct GateTests {
  private static let caller = PodCaller(namespace: "shop", function: "asker", pod: "asker-00001-x", uid: "u-1")

  /// A listening TCP socket on loopback, and its port.
  private func inside() throws -> (fd: CInt, port: Int) {
    let fd = socket(AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let listening = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(fd, $0, size) == 0 && listen(fd, 16) == 0 && getsockname(fd, $0, &size) == 0
      }
    }
    try #require(listening)
    return (fd, Int(UInt16(bigEndian: address.sin_port)))
  }

  private func client(_ port: Int) async throws -> TestConnection { try await TestConnection(port: port) }

  @Test func `the gateway hears whose connection it is, then the pod's own bytes, both ways`() async throws {
    let folder = try TemporaryFolder()
    let echo = try await EchoServer.bootstrap.bind(unixDomainSocketPath: "\(folder.path)/pods.sock").get()
    let (fd, port) = try inside()
    // A gateway that is gone left its socket's name; the next one is asked.
    let sockets = ["\(folder.path)/gone.sock", "\(folder.path)/pods.sock"]
    let gate = try await PodGate(
      listener: fd, caller: Self.caller, gateways: { sockets }, group: MultiThreadedEventLoopGroup.singleton)
    let pod = try await client(port)
    try await pod.send("GET / HTTP/1.1\r\n")
    let wanted = "APUS-POD 1 shop asker asker-00001-x u-1\nGET / HTTP/1.1\r\n"
    #expect(await eventually { pod.text == wanted }, "\(pod.text)")
    try await pod.finish()
    #expect(await eventually { pod.ended })
    await gate.close()
    try await echo.close()
  }

  @Test func `without a gateway the pod is told so in HTTP`() async throws {
    let (fd, port) = try inside()
    let gate = try await PodGate(
      listener: fd, caller: Self.caller, gateways: { [] }, group: MultiThreadedEventLoopGroup.singleton)
    let pod = try await client(port)
    try await pod.send("GET /function/x HTTP/1.1\r\nhost: h\r\n\r\n")
    #expect(await eventually { pod.text.hasPrefix("HTTP/1.1 503 ") && pod.text.contains("no_gateway") })
    let parts = pod.text.components(separatedBy: "\r\n\r\n")
    let length = parts[0].components(separatedBy: "content-length: ").last.flatMap { Int($0.prefix { $0.isNumber }) }
    #expect(parts.count == 2 && length == parts[1].utf8.count)
    await pod.close()
    await gate.close()
  }

  @Test func `a pod has so many connections and no more`() async throws {
    let folder = try TemporaryFolder()
    let echo = try await EchoServer.bootstrap.bind(unixDomainSocketPath: "\(folder.path)/pods.sock").get()
    let (fd, port) = try inside()
    let gate = try await PodGate(
      listener: fd, caller: Self.caller, gateways: { ["\(folder.path)/pods.sock"] },
      group: MultiThreadedEventLoopGroup.singleton)
    var held: [TestConnection] = []
    for _ in 0..<PodGate.connectionsMaximum { held.append(try await client(port)) }
    let all = held
    #expect(await eventually(within: .seconds(10)) { all.allSatisfy { $0.text.hasPrefix("APUS-POD") } })
    let one = try await client(port)
    #expect(await eventually { one.ended }, "one more is closed")
    await held.removeLast().close()
    let again = await eventually(within: .seconds(10)) {
      guard let next = try? await client(port) else { return false }
      let served = await eventually { next.text.hasPrefix("APUS-POD") || next.ended }
      let isServed = served && !next.ended
      await next.close()
      return isServed
    }
    #expect(again, "its place is free for another")
    for pod in held + [one] { await pod.close() }
    await gate.close()
    try await echo.close()
  }
}
