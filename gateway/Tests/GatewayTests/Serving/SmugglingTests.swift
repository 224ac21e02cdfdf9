import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import NIOCore
import NIOHTTP1
import Synchronization
import Testing

@testable import Gateway

/// What could be read in two ways, and what never ends, through real connections in pieces of every size: answered 4xx or
/// closed at once, and the pod sees none of it.
@Suite struct SmugglingTests {
  /// How an attack ended for the one who sent it.
  private struct Outcome {
    let text: String
    let closed: Bool
    let took: Duration
    /// How long sending took.
    var sending = Duration.zero

    var status: Int? { text.hasPrefix("HTTP/1.1 ") ? Int(text.dropFirst(9).prefix(3)) : nil }
    var answers: Int { text.components(separatedBy: "HTTP/1.1 ").count - 1 }
  }

  /// Sends bytes in pieces of one size until all are sent or the gateway closes.
  private func send(_ bytes: [UInt8], pieces: Int, to clients: TestClients) async throws -> Outcome {
    let client = try await ByteClient(port: clients.port)
    let clock = ContinuousClock()
    let begun = clock.now
    var start = 0
    while start < bytes.count, !client.closed {
      let end = bytes.count - start <= pieces ? bytes.count : start + pieces
      await client.send(Array(bytes[start..<end]))
      start = end
    }
    let sent = clock.now
    let closed = await eventually(within: .seconds(30)) { client.closed }
    let outcome = Outcome(
      text: String(decoding: client.bytes, as: UTF8.self), closed: closed, took: sent.duration(to: clock.now),
      sending: begun.duration(to: sent))
    await client.close()
    return outcome
  }

  /// `mayBeCut`: whether what still comes may eat the answer, because the gateway reads it for a second only. On a slow
  /// machine small pieces take longer than that.
  private func check(
    _ attacks: [SmugglingSet.Attack], pieces: Int, _ clients: TestClients, mayBeCut: Bool = false
  ) async throws {
    for attack in attacks {
      let outcome = try await send(attack.bytes, pieces: pieces, to: clients)
      let about =
        "\(attack) in pieces of \(pieces), sent in \(outcome.sending), closed after \(outcome.took): \(outcome.text)"
      let mayBeCut = mayBeCut || outcome.sending > .milliseconds(900)
      #expect(outcome.closed && outcome.took < .seconds(9), "\(about)")
      #expect(outcome.answers <= 1, "\(about)")
      let refused = outcome.status.map { (400..<500).contains($0) } ?? (mayBeCut && outcome.text.isEmpty)
      #expect(refused, "\(about)")
    }
  }

  @Test(arguments: [1, 2, 3, 7, 64, Int.max])
  func `heads that could be read in two ways are refused, and nothing of them is forwarded`(pieces: Int) async throws {
    try await withGateway([makeRoute(concurrency: 10, max: 1)]) { (platform, _, clients) async throws in
      let pod = await platform.startPod("echo", "echo-00001")
      try await check(SmugglingSet.heads, pieces: pieces, clients)
      let seen = pod.counts.withLock { ($0.connections, $0.heads.map(\.uri)) }
      #expect(seen.0 == 0 && seen.1 == [], "the pod saw something: \(seen)")
      #expect(platform.state.withLock { $0.wants.isEmpty }, "a pod was asked for")
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
    }
  }

  @Test(arguments: [1000, 8192, Int.max])
  func `heads without measure are refused at the bound, and nothing of them is forwarded`(pieces: Int) async throws {
    try await withGateway([makeRoute(concurrency: 10, max: 1)]) { (platform, _, clients) async throws in
      let pod = await platform.startPod("echo", "echo-00001")
      try await check(SmugglingSet.large, pieces: pieces, clients, mayBeCut: true)
      #expect(pod.counts.withLock { $0.connections } == 0)
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
    }
  }

  @Test(arguments: [1, 2, 5, 1000, Int.max])
  func `bodies that could be read in two ways never end at the pod, nor does a second request come out of them`(
    pieces: Int
  ) async throws {
    try await withGateway([makeRoute(concurrency: 10, max: 1)]) { (platform, _, clients) async throws in
      let pod = await platform.startPod("echo", "echo-00001")
      let attacks = SmugglingSet.bodies.filter { $0.bytes.count < 1000 || pieces >= 1000 }
      try await check(attacks, pieces: pieces, clients, mayBeCut: true)
      let over = await eventually { pod.counts.withLock { $0.running } == 0 }
      #expect(over, "calls whose request broke are still inside")
      let seen = pod.counts.withLock { ($0.served, $0.heads.map(\.uri)) }
      #expect(seen.0 == 0, "\(seen.0) requests ended at the pod")
      #expect(seen.1.contains { $0.contains("smuggled") } == false)
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
    }
  }

  // MARK: slow ones

  /// Sends `first`, then a piece of `rest` each `pause`, until the gateway closes; answers what it said, and when.
  private func trickle(
    _ first: String, _ rest: [String], pause: Duration, to clients: TestClients, within limit: Duration
  ) async throws -> Outcome {
    let client = try await ByteClient(port: clients.port)
    let clock = ContinuousClock()
    let begun = clock.now
    await client.send(Array(first.utf8))
    var next = 0
    while !client.closed, begun.duration(to: clock.now) < limit {
      guard !rest.isEmpty else {
        _ = await eventually(within: limit) { client.closed }
        break
      }
      if await eventually(within: pause, { client.closed }) { break }
      await client.send(Array(rest[next % rest.count].utf8))
      next += 1
    }
    let outcome = Outcome(
      text: String(decoding: client.bytes, as: UTF8.self), closed: client.closed, took: begun.duration(to: clock.now))
    await client.close()
    return outcome
  }

  @Test(.timeLimit(.minutes(1)))
  func `slow heads are answered 408 when their time is over, however they trickle`() async throws {
    try await withGateway([makeRoute(max: 1)]) { (platform, _, clients) async throws in
      let pod = await platform.startPod("echo", "echo-00001")
      let slow: [(String, [String])] = [
        ("G", []), ("GET /function/echo HTTP/1.1\r\nHost: h\r\n", []),
        ("GET /function/echo HTTP/1.1\r\nHost: h\r\nX: ", ["a"]),
        ("GET /function/echo HTTP/1.1\r\nHost: h\r\n", ["X: y\r\n"]), ("GET /function/echo HTTP/1.1\r\nHost: h\r", []),
      ]
      try await withThrowingTaskGroup(of: Void.self) { group in
        for (first, rest) in slow {
          group.addTask {
            let outcome = try await trickle(
              first, rest, pause: .milliseconds(700), to: clients,
              within: .seconds(GatewayLimits.headSeconds + 8))
            let about = "\(first.debugDescription): \(outcome.text.prefix(100)) after \(outcome.took)"
            #expect(outcome.closed && outcome.status == 408, "\(about)")
            #expect(outcome.took > .seconds(GatewayLimits.headSeconds - 1), "\(about)")
          }
        }
        try await group.waitForAll()
      }
      #expect(pod.counts.withLock { $0.connections } == 0)
    }
  }

  @Test(.timeLimit(.minutes(2)))
  func `slow bodies are answered 408 when they stop, and end with the function's time when they trickle`() async throws
  {
    let route = makeRoute(concurrency: 10, timeout: .seconds(6), max: 1)
    let patient = makeRoute(
      "patient", uid: "f2", revision: "patient-00001", concurrency: 10, timeout: .seconds(60), max: 1)
    try await withGateway([route, patient]) { (platform, _, clients) async throws in
      let pod = await platform.startPod("echo", "echo-00001")
      let other = await platform.startPod("patient", "patient-00001")
      let told = "HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"
      let chunked = "HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      try await withThrowingTaskGroup(of: Void.self) { group in
        for (head, piece) in [(told, "a"), (chunked, "1\r\na\r\n"), (chunked, "0")] {
          group.addTask {
            let outcome = try await trickle(
              "POST /function/echo \(head)", [piece], pause: .milliseconds(500), to: clients,
              within: .seconds(6 + GatewayLimits.earlySeconds + 8))
            let about = "\(piece.debugDescription): \(outcome.text.prefix(100)) after \(outcome.took)"
            // Zero after zero is no size any more.
            let expected = piece == "0" ? [400, 504] : [504]
            #expect(outcome.closed && expected.contains(outcome.status ?? 0), "\(about)")
          }
          group.addTask {
            let outcome = try await trickle(
              "POST /function/patient \(head)\(piece)", [], pause: .seconds(1), to: clients,
              within: .seconds(GatewayLimits.bodyIdleSeconds + 8))
            let about = "\(piece.debugDescription): \(outcome.text.prefix(100)) after \(outcome.took)"
            #expect(outcome.closed && outcome.status == 408, "\(about)")
          }
        }
        try await group.waitForAll()
      }
      for pod in [pod, other] {
        let over = await eventually { pod.counts.withLock { $0.running } == 0 }
        #expect(over && pod.counts.withLock { $0.served } == 0, "no such request ended at the pod")
      }
    }
  }

  @Test(.timeLimit(.minutes(2)))
  func `slow bodies of calls for later are answered 408, whether they stop or trickle`() async throws {
    let queue = FakeQueue()
    try await withGateway([makeRoute(timeout: .seconds(2))], calls: queue) { (_, _, clients) async throws in
      let head = "POST /async-function/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"
      try await withThrowingTaskGroup(of: Void.self) { group in
        for pieces in [[], ["a"]] {
          group.addTask {
            let outcome = try await trickle(
              head, pieces, pause: .seconds(2), to: clients,
              within: .seconds(max(GatewayLimits.bodyIdleSeconds, GatewayLimits.asyncBodySeconds) + 8))
            #expect(outcome.closed && outcome.status == 408, "\(pieces): \(outcome.text) after \(outcome.took)")
          }
        }
        try await group.waitForAll()
      }
      #expect(queue.calls.isEmpty)
    }
  }
}
