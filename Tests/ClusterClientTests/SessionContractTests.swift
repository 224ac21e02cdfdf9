import ClusterAPI
import ClusterClient
import ClusterModel
import ClusterTestSupport
import Synchronization
import Testing

@testable import ControlPlane

/// The contract of `NodeSessions`, in process and through HTTP.
@Suite("Worker sessions, in process and through HTTP") struct SessionContractTests {
  static func hello(_ name: String = "worker-1", session: String = "s1") -> WorkerHello {
    WorkerHello(
      name: name, session: session, labels: [:], milliCPU: 2000, memory: 1 << 30, pods: 100, address: nil, host: "h",
      info: NodeInfo(kernelVersion: "6", osImage: "Debian", version: "0.1.0", architecture: "amd64"), isolation: [],
      artifacts: [],
      running: [
        PodReport(
          uid: "u1", name: "p", namespace: "default",
          detail: PodDetail(function: "f", revision: "f-00001", life: .ready))
      ])
  }

  static func sessions(_ world: World, _ wiring: Wiring, node: String = "worker-1") throws -> any NodeSessions {
    wiring == .inProcess ? world.sessions : HTTPNodeSessions(client: try world.node(node))
  }

  @Test(arguments: Wiring.allCases) func `a session hears keep first, and the server every message in order`(
    _ wiring: Wiring
  ) async throws {
    try await World.run { world in
      let handle = try await Self.sessions(world, wiring).open(Self.hello())
      #expect(handle.epoch == 7)
      var commands = handle.commands.makeAsyncIterator()
      let first = await commands.next()
      #expect(first?.action == .keep(uids: ["u1"]))
      for index in 0..<50 {
        await handle.receive(.heartbeat)
        let event = ReportedEvent(
          object: ObjectReference(.node, namespace: nil, name: "worker-1"), reason: "R\(index)", message: "m",
          warning: false)
        await handle.receive(.event(event))
      }
      #expect(await eventually { world.sessions.all[0].messages.count == 100 })
      let reasons = world.sessions.all[0].messages.compactMap { message in
        if case .event(let event) = message { return event.reason }
        return nil
      }
      #expect(reasons == (0..<50).map { "R\($0)" })
      world.sessions.all[0].commands.yield(NodeCommand(id: 2, epoch: 7, action: .drain(uid: "u1")))
      #expect(await commands.next()?.action == .drain(uid: "u1"))
      await handle.closed(false)
    }
  }

  @Test(arguments: Wiring.allCases) func `a node full of pods, each with the longest sentence, has a session`(
    _ wiring: Wiring
  ) async throws {
    try await World.run { world in
      var hello = Self.hello()
      let long = String(repeating: "\u{1}", count: 1 << 20)
      hello.running = (0..<200).map { index in
        var detail = PodDetail(function: "f", revision: "f-00001", life: .wanted)
        detail.enter(.starting, at: Timestamp(milliseconds: 0), reason: "StartFailed", message: index < 30 ? long : nil)
        return PodReport(uid: UUIDv7.make(), name: "pod-\(index)", namespace: "default", detail: detail)
      }
      let handle = try await Self.sessions(world, wiring).open(hello)
      var commands = handle.commands.makeAsyncIterator()
      #expect(await commands.next()?.action == .keep(uids: hello.running.map(\.uid)))
      #expect(world.sessions.all[0].hello.running == hello.running)
      let event = ReportedEvent(
        object: ObjectReference(.node, namespace: nil, name: "worker-1"), reason: "StartFailed",
        message: String(repeating: "\u{2}", count: 4 << 20), warning: true)
      await handle.receive(.event(event))
      #expect(await eventually { world.sessions.all[0].messages == [.event(event)] })
      let uids = (0..<1200).map { _ in String(repeating: "u", count: 1000) }
      world.sessions.all[0].commands.yield(NodeCommand(id: 2, epoch: 7, action: .keep(uids: uids)))
      #expect(await commands.next()?.action == .keep(uids: uids))
      await handle.closed(false)
    }
  }

  @Test(arguments: Wiring.allCases) func `a goodbye is a clean end`(_ wiring: Wiring) async throws {
    try await World.run { world in
      let handle = try await Self.sessions(world, wiring).open(Self.hello())
      // A worker that leaves stops reading commands at the same moment.
      let reading = Task { for await _ in handle.commands {} }
      await handle.receive(.goodbye)
      reading.cancel()
      await reading.value
      await handle.closed(true)
      #expect(await eventually { world.sessions.all[0].closed == true })
      #expect(world.sessions.all[0].messages.last == .goodbye)
    }
  }

  @Test(arguments: Wiring.allCases) func `an end without goodbye is not clean`(_ wiring: Wiring) async throws {
    try await World.run { world in
      let handle = try await Self.sessions(world, wiring).open(Self.hello())
      await handle.receive(.heartbeat)
      #expect(await eventually { world.sessions.all[0].messages == [.heartbeat] })
      await handle.closed(false)
      #expect(await eventually { world.sessions.all[0].closed == false })
    }
  }

  @Test(arguments: Wiring.allCases) func `the commands end when the server ends the session`(_ wiring: Wiring)
    async throws
  {
    try await World.run { world in
      let handle = try await Self.sessions(world, wiring).open(Self.hello())
      world.sessions.all[0].commands.finish()
      var count = 0
      for await _ in handle.commands { count += 1 }
      #expect(count == 1)
      if wiring == .http { #expect(await eventually { world.sessions.all[0].closed == false }) }
    }
  }

  @Test(arguments: Wiring.allCases) func `a refused session says why`(_ wiring: Wiring) async throws {
    try await World.run { world in
      let sessions = try Self.sessions(world, wiring, node: "refused")
      let error = await #expect(throws: APIStatus.self) { _ = try await sessions.open(Self.hello("refused")) }
      #expect(error?.code == 409)
      #expect(error?.message.contains("it is refused") == true)
    }
  }

  @Test func `a client that vanishes ends the session at the server`() async throws {
    try await World.run { world in
      let client = try world.node("worker-1")
      let handle = try await HTTPNodeSessions(client: client).open(Self.hello())
      #expect(handle.epoch == 7)
      await client.shutdown()
      #expect(await eventually { world.sessions.all[0].closed == false })
      for await _ in handle.commands {}
    }
  }

  @Test func `a node cannot open the session of another`() async throws {
    try await World.run { world in
      let sessions = HTTPNodeSessions(client: try world.node("worker-2"))
      let error = await #expect(throws: APIStatus.self) { _ = try await sessions.open(Self.hello("worker-1")) }
      #expect(error?.code == 403)
      #expect(world.sessions.all.isEmpty)
    }
  }

  @Test func `a stream of commands whose reports never come gives up`() async throws {
    let joiner = SessionJoiner()
    let waiting = Task { try await joiner.commands("n/s") }
    waiting.cancel()
    let result = await waiting.result
    #expect(throws: APIStatus.self) { _ = try result.get() }
  }
}
