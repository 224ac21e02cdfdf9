import ClusterAPI
import ClusterModel
import ClusterTestSupport
import NIOCore
import Synchronization
import Testing

@testable import ClusterClient

/// Retries, lines, deadlines, resumption: the client by itself.
@Suite("The client's connection") struct ConnectionTests {
  @Test func `waits double up to the longest, and only for what may be sent again`() {
    let policy = RetryPolicy(attempts: 6, firstDelay: .milliseconds(100), longestDelay: .milliseconds(500))
    let waits = (1...6).map { policy.delay(afterFailure: $0, progress: .unsent, idempotent: false, chance: 1) }
    #expect(
      waits == [
        .milliseconds(100), .milliseconds(200), .milliseconds(400), .milliseconds(500), .milliseconds(500), nil,
      ])
    #expect(policy.delay(afterFailure: 1, progress: .unsent, idempotent: false, chance: 0) == .milliseconds(50))
    #expect(policy.delay(afterFailure: 1, progress: .uncertain, idempotent: false, chance: 1) == nil)
    #expect(policy.delay(afterFailure: 1, progress: .uncertain, idempotent: true, chance: 1) != nil)
    #expect(policy.delay(afterFailure: 1, progress: .final, idempotent: true, chance: 1) == nil)
    #expect(RetryPolicy.never.delay(afterFailure: 1, progress: .unsent, idempotent: true, chance: 1) == nil)
  }

  @Test func `lines come out the same however the bytes are cut`() throws {
    let text = "one\n\ntwo\r\nthree ü\n{\"a\":1}\nlast"
    for seed in UInt64(0)..<200 {
      var generator = SeededGenerator(seed: seed)
      var splitter = LineSplitter(bound: 64)
      var lines: [String] = []
      var rest = Array(text.utf8)[...]
      while !rest.isEmpty {
        let cut = rest.prefix(Int.random(in: 1...7, using: &generator))
        rest = rest.dropFirst(cut.count)
        splitter.append(ByteBuffer(bytes: cut))
        while let line = try splitter.next() { lines.append(String(decoding: line, as: UTF8.self)) }
      }
      if let line = splitter.rest() { lines.append(String(decoding: line, as: UTF8.self)) }
      #expect(lines == ["one", "two\r", "three ü", "{\"a\":1}", "last"], "seed \(seed)")
    }
  }

  @Test func `a line beyond its bound is refused, with and without its newline`() {
    var open = LineSplitter(bound: 4)
    open.append(ByteBuffer(string: "12345"))
    #expect(throws: LineTooLong.self) { try open.next() }
    var closed = LineSplitter(bound: 4)
    closed.append(ByteBuffer(string: "12345\n"))
    #expect(throws: LineTooLong.self) { try closed.next() }
  }

  @Test func `a server that is not there is 503 in words`() async throws {
    let client = try APIClient(
      endpoint: APIEndpoint(url: "https://127.0.0.1:1/", authority: nil), credential: .none,
      retry: RetryPolicy(attempts: 3, firstDelay: .milliseconds(1)))
    let error = await #expect(throws: APIStatus.self) {
      _ = try await HTTPResourceService(client: client).list(.pod, namespace: nil, options: ListOptions())
    }
    #expect(error?.code == 503)
    #expect(error?.message == "cannot reach https://127.0.0.1:1: connection refused; is the server up?")
    await client.shutdown()
  }

  @Test func `503 is tried again for reads, and not for writes`() async throws {
    try await World.run { world in
      let retry = RetryPolicy(attempts: 4, firstDelay: .milliseconds(1))
      let resources = HTTPResourceService(client: try world.admin(retry: retry))
      _ = try await resources.create(.function, namespace: "default", object: ResourceContractTests.function("greet"))
      world.resources.fail([.unavailable("starting"), .unavailable("starting")])
      #expect(try await resources.get(.function, namespace: "default", name: "greet")["kind"] == .string("Function"))
      world.resources.fail([APIStatus(code: 507, reason: "InsufficientStorage", message: "full")])
      let error = await #expect(throws: APIStatus.self) {
        _ = try await resources.get(.function, namespace: "default", name: "greet")
      }
      #expect(error?.code == 507)
    }
  }

  @Test func `query values survive every character`() async throws {
    #expect(APIRequest.escape("a b&c=d/é+~") == "a%20b%26c%3Dd%2F%C3%A9%2B~")
  }

  @Test func `a resuming watch goes on after a break and lists again after 410`() async throws {
    try await World.run { world in
      let resources = HTTPResourceService(client: try world.admin())
      let log = Mutex<[String]>([])
      let retry = RetryPolicy(attempts: .max, firstDelay: .milliseconds(1), longestDelay: .milliseconds(5))
      let watch = ResumingWatch(resources, .function, namespace: nil, retry: retry)
      let running = Task {
        try await watch.run { update in
          let text =
            switch update {
            case .listed(let list): "list \(list.items.count)"
            case .changed(let event): event.type
            case .interrupted: "interrupted"
            }
          log.withLock { $0.append(text) }
        }
      }
      let create = { (name: String) async throws in
        _ = try await world.resources.create(
          .function, namespace: "default", object: ResourceContractTests.function(name))
      }
      #expect(await eventually { world.resources.watchers == 1 })
      try await create("a")
      #expect(await eventually { log.withLock { $0 } == ["list 0", "ADDED"] })
      world.resources.dropWatchers()
      #expect(await eventually { world.resources.watchers == 1 })
      try await create("b")
      #expect(await eventually { log.withLock { $0.count } >= 3 })
      #expect(log.withLock { $0 } == ["list 0", "ADDED", "ADDED"], "a clean end is no interruption")
      // What happens between the break and the compaction is only seen by listing again.
      world.resources.refuseWatches(true)
      world.resources.dropWatchers()
      try await create("c")
      world.resources.compact()
      world.resources.refuseWatches(false)
      #expect(await eventually { log.withLock { $0.contains("list 3") } })
      running.cancel()
      _ = await running.result
    }
  }

  @Test func `a cancelled request ends at once as cancelled`() async throws {
    try await World.run { world in
      let client = try world.admin()
      let following = Task { () -> Result<Void, any Error> in
        do {
          for try await _ in try await HTTPLogQueries(client: client).follow(LogRequest(namespaces: nil)) {}
          return .success(())
        } catch {
          return .failure(error)
        }
      }
      #expect(await eventually { world.logs.followers == 1 })
      following.cancel()
      _ = await following.value
    }
  }
}
