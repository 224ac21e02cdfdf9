import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import Logging
import StateStore
import Synchronization
import Testing

@testable import ControlPlane

/// The service on a store of its own: what was acknowledged survives, what ends is kept, what is over goes.
@Suite("Asynchronous calls: service") struct CallServiceTests {
  /// Functions and a gateway played by the test.
  final class Stage: CallInvoker {
    struct State {
      var runs: [String: Int] = [:]
      var bodies: [String: [UInt8]] = [:]
      var posts: [CallbackPost] = []
      var functions: Set<String> = ["f", "g"]
      var most = 0
      var inside = 0
    }

    let state = Mutex(State())
    let folder: TemporaryFolder
    let clock = TestClock()
    let answer: @Sendable (AsyncCall, Int) async -> CallOutcome
    let callback: @Sendable (CallbackPost) -> String?

    init(
      answer: @escaping @Sendable (AsyncCall, Int) async -> CallOutcome = { _, _ in
        .answered(CallAnswer(status: 200, body: [111, 107]))
      },
      callback: @escaping @Sendable (CallbackPost) -> String? = { _ in nil }
    ) throws {
      folder = try TemporaryFolder()
      self.answer = answer
      self.callback = callback
    }

    func invoke(_ call: AsyncCall, patience: Int64) async -> CallOutcome {
      let run = state.withLock { state in
        state.runs[call.head.id, default: 0] += 1
        state.bodies[call.head.id] = call.body
        state.inside += 1
        state.most = max(state.most, state.inside)
        return state.runs[call.head.id] ?? 0
      }
      defer { state.withLock { $0.inside -= 1 } }
      return await answer(call, run)
    }

    func deliver(_ callback: CallbackPost, rules: CallbackRules) async -> String? {
      state.withLock { $0.posts.append(callback) }
      return self.callback(callback)
    }

    func runs(_ id: String) -> Int { state.withLock { $0.runs[id] ?? 0 } }

    func open() throws -> SQLiteStore { try SQLiteStore.open(path: folder.path + "/calls.sqlite") }

    func service(_ store: any StateStore, concurrency: Int = 4, resultTime: Int64 = 3_600_000) async throws
      -> CallService
    {
      var logger = Logger(label: "test")
      logger.logLevel = .critical
      let service = CallService(
        store: store, options: .init(resultTime: resultTime), invoker: self, logger: logger, clock: { self.clock.now },
        route: { namespace, function in
          guard self.state.withLock({ $0.functions.contains(function) }) else { return nil }
          return try? JSONValue.object([
            "namespace": .string(namespace), "function": .string(function), "uid": .string("u"),
            "concurrency": .int(Int64(concurrency)), "timeout": .string("30s"), "minPods": .int(0), "maxPods": .int(1),
            "idleAfter": .string("30s"), "queueLimit": .int(10), "queueTimeout": .string("10s"), "maxBody": .int(1),
            "idempotent": .bool(false), "isPublic": .bool(false),
          ]).decoded(as: FunctionRoute.self)
        })
      try await service.prepare()
      return service
    }

    func call(_ id: String, _ function: String = "f", body: [UInt8] = [1, 2], callback: String? = nil) -> AsyncCall {
      AsyncCall(
        .init(
          id: id, namespace: "default", function: function, path: "/p?q=1", headers: [CallHeader("A", "b")],
          callback: callback, enqueued: clock.now), body: body)
    }
  }

  private func running<T>(_ service: CallService, _ body: () async throws -> T) async throws -> T {
    let task = Task { await service.run() }
    do {
      let value = try await body()
      task.cancel()
      await task.value
      return value
    } catch {
      task.cancel()
      await task.value
      throw error
    }
  }

  private func state(_ service: CallService, _ id: String) -> CallState? {
    service.board.withLock { $0.entries[id]?.state }
  }

  @Test func `every acknowledged call is there after a restart, and runs with its body`() async throws {
    let stage = try Stage()
    let store = try stage.open()
    let before = try await stage.service(store)
    let large = [UInt8](repeating: 7, count: Limits.asyncBody)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<200 {
        group.addTask { try await before.enqueue(stage.call("c\(index)", body: [UInt8(index)])) }
      }
      try await group.waitForAll()
    }
    try await before.enqueue(stage.call("large", body: large))
    // As kill -9 does: nobody tells the service; the store is let go, and opened again from its files.
    await store.close()
    let again = try stage.open()
    let after = try await stage.service(again)
    #expect(after.board.withLock { $0.entries.count } == 201)
    await #expect(throws: APIStatus.self) { try await after.enqueue(stage.call("c7")) }
    try await running(after) {
      #expect(await eventually { self.state(after, "large") == .done && stage.state.withLock { $0.runs.count } == 201 })
      #expect(await eventually { after.board.withLock { $0.running } == 0 })
    }
    #expect(stage.state.withLock { $0.runs.values.allSatisfy { $0 == 1 } })
    #expect(stage.state.withLock { $0.bodies["large"] == large && $0.bodies["c9"] == [9] && $0.most <= 4 })
    let shown = try await after.show(namespace: "default", id: "c9")
    #expect(shown.result?.body == Data("ok".utf8) && shown.path == "/p?q=1" && shown.bodyBytes == 1)
    await again.close()
  }

  @Test func `a call that was running when the server died is run again; one that was done is not`() async throws {
    let gate = Mutex(false)
    let stage = try Stage { call, run in
      if call.head.id == "slow", run == 1 {
        gate.withLock { $0 = true }
        // Until the service is taken down.
        try? await Task.sleep(for: .seconds(60))
      }
      return .answered(CallAnswer(status: 204))
    }
    let store = try stage.open()
    let before = try await stage.service(store)
    try await running(before) {
      try await before.enqueue(stage.call("fast"))
      #expect(await eventually { self.state(before, "fast") == .done })
      try await before.enqueue(stage.call("slow"))
      #expect(await eventually { gate.withLock { $0 } })
    }
    await store.close()
    let again = try stage.open()
    let after = try await stage.service(again)
    #expect(state(after, "fast") == .done && state(after, "slow") == .queued)
    try await running(after) { #expect(await eventually { self.state(after, "slow") == .done }) }
    #expect(stage.runs("slow") == 2 && stage.runs("fast") == 1)
    await again.close()
  }

  @Test func `a function that always fails ends as a dead letter with its reason, and can be run again or purged`()
    async throws
  {
    let healed = Mutex(false)
    let stage = try Stage { _, _ in
      .answered(CallAnswer(status: healed.withLock { $0 } ? 200 : 500, body: [33]))
    }
    let store = try stage.open()
    let service = try await stage.service(store)
    try await running(service) {
      for id in ["a", "b"] { try await service.enqueue(stage.call(id)) }
      let ended = await eventually(within: .seconds(20)) {
        // The waits are those of the test's clock.
        stage.clock.advance(milliseconds: 10_000)
        return self.state(service, "a") == .dead && self.state(service, "b") == .dead
      }
      #expect(ended)
      #expect(stage.runs("a") == Limits.asyncAttempts && stage.runs("b") == Limits.asyncAttempts)
      let dead = try await service.list(CallFilter(namespace: "default", state: .dead))
      #expect(dead.map(\.id) == ["a", "b"] && dead[0].attempts == 5 && dead[0].status == 500)
      #expect(dead[0].reason?.contains("5 attempts") == true)
      healed.withLock { $0 = true }
      _ = try await service.retry(namespace: "default", id: "a")
      #expect(await eventually { self.state(service, "a") == .done })
      #expect(try await service.purge(namespace: "default", function: "f") == 1)
    }
    await store.close()
    let again = try stage.open()
    let after = try await stage.service(again)
    #expect(state(after, "a") == .done && state(after, "b") == nil)
    let left = try await again.list(prefix: CallRecords.calls, after: nil, limit: 10, at: nil)
    #expect(left.items.count == 1)
    await again.close()
  }

  @Test func `attempts and dead letters are remembered over a restart`() async throws {
    let stage = try Stage { call, _ in .answered(CallAnswer(status: call.head.id == "dead" ? 500 : 503)) }
    let store = try stage.open()
    let before = try await stage.service(store)
    try await running(before) {
      try await before.enqueue(stage.call("dead"))
      #expect(
        await eventually(within: .seconds(20)) {
          stage.clock.advance(milliseconds: 10_000)
          return self.state(before, "dead") == .dead
        })
      try await before.enqueue(stage.call("waiting"))
      #expect(await eventually { before.board.withLock { $0.entries["waiting"]?.attempts == 1 } })
    }
    await store.close()
    let again = try stage.open()
    let after = try await stage.service(again)
    #expect(state(after, "dead") == .dead)
    #expect(after.board.withLock { $0.entries["waiting"]?.attempts ?? 0 } >= 1)
    await again.close()
  }

  @Test func `calls of a deleted function are dead letters that say so`() async throws {
    let stage = try Stage()
    let store = MemoryStore(boot: 0)
    let service = try await stage.service(store)
    try await service.enqueue(stage.call("a"))
    stage.state.withLock { $0.functions = ["g"] }
    await #expect(throws: APIStatus.self) { try await service.enqueue(stage.call("late")) }
    try await running(service) { #expect(await eventually { self.state(service, "a") == .dead }) }
    #expect(service.board.withLock { $0.entries["a"]?.reason?.contains("deleted") } == true)
    #expect(stage.runs("a") == 0)
  }

  @Test func `what cannot be taken is refused with its reason and leaves nothing behind`() async throws {
    let stage = try Stage()
    let store = MemoryStore(boot: 0)
    let service = try await stage.service(store)
    func code(_ call: AsyncCall) async -> Int? {
      do throws(APIStatus) {
        try await service.enqueue(call)
        return nil
      } catch { return error.code }
    }
    #expect(await code(stage.call("a", "nobody")) == 404)
    #expect(await code(stage.call("a b")) == 400)
    #expect(await code(stage.call("a", body: [UInt8](repeating: 0, count: Limits.asyncBody + 1))) == 413)
    #expect(await code(stage.call("a", callback: "ftp://x/")) == 400)
    #expect(await code(stage.call("a")) == nil)
    #expect(await code(stage.call("a", "g")) == 409)
    for index in 1..<Limits.asyncQueueCalls { try await service.enqueue(stage.call("q\(index)", body: [])) }
    #expect(await code(stage.call("more")) == 429)
    store.close()
    #expect(await code(stage.call("closed", "g")) == 503)
    #expect(service.board.withLock { $0.entries.count } == Limits.asyncQueueCalls)
  }

  @Test func `results go after their time, from the store too`() async throws {
    let stage = try Stage()
    let store = MemoryStore(boot: 0)
    let service = try await stage.service(store, resultTime: 5000)
    try await running(service) {
      try await service.enqueue(stage.call("a", body: [UInt8](repeating: 1, count: 10_000)))
      #expect(await eventually { self.state(service, "a") == .done })
      stage.clock.advance(milliseconds: 5001)
      #expect(await eventually { self.state(service, "a") == nil })
      #expect(await eventually { (try? await store.listAll(prefix: "").items.isEmpty) ?? false })
    }
    await #expect(throws: APIStatus.self) { _ = try await service.show(namespace: "default", id: "a") }
  }

  @Test func `a callback gets the answer with its headers, is tried three times, and survives a restart`() async throws
  {
    let stage = try Stage(
      answer: { _, _ in
        .answered(
          CallAnswer(
            status: 418, headers: [CallHeader("Content-Type", "text/x"), CallHeader("X-Function-Name", "lie")],
            body: [116], seconds: 0.25))
      }, callback: { _ in "refused" })
    let store = try stage.open()
    let service = try await stage.service(store)
    try await running(service) {
      try await service.enqueue(stage.call("a", callback: "http://example.com/cb"))
      let sent = await eventually(within: .seconds(20)) {
        stage.clock.advance(milliseconds: 5000)
        return stage.state.withLock { $0.posts.count } == 3
          && service.board.withLock { $0.entries["a"]?.callback } == CallBoard.Callback.none
      }
      #expect(sent)
    }
    let post = try #require(stage.state.withLock { $0.posts.first })
    #expect(post.body == [116] && post.url == "http://example.com/cb")
    let fields = Dictionary(post.headers.map { ($0.name, $0.value) }) { one, _ in one }
    #expect(fields["X-Call-Id"] == "a" && fields["X-Function-Status"] == "418" && fields["X-Function-Name"] == "f")
    #expect(fields["X-Duration-Seconds"] == "0.250000" && fields["Content-Type"] == "text/x")
    let shown = try await service.show(namespace: "default", id: "a")
    #expect(shown.callbackOutcome == "refused")
    await store.close()
  }

  @Test func `a store that fails for a while delays an end and loses none`() async throws {
    let stage = try Stage()
    let store = FailingStore(MemoryStore(boot: 0))
    let service = try await stage.service(store)
    try await service.enqueue(stage.call("a"))
    store.fails.withLock { $0 = 1 }
    try await running(service) {
      #expect(await eventually { self.state(service, "a") == .done })
    }
    #expect(stage.runs("a") == 1)
    store.fails.withLock { $0 = 1 }
    await #expect(throws: APIStatus.self) { try await service.enqueue(stage.call("b")) }
    #expect(state(service, "b") == nil)
    try await service.enqueue(stage.call("b"))
  }
}
