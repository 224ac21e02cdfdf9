import ClusterAPI
import ClusterClient
import ClusterModel
import ClusterTestSupport
import Synchronization
import Testing

/// The contracts of the smaller protocols, in process and through HTTP.
@Suite("Routes, activation, logs, packages, secrets, in process and through HTTP") struct ServiceContractTests {
  // MARK: Routing

  static func feed(_ world: World, _ wiring: Wiring) async throws -> any RouteFeed {
    if wiring == .inProcess { return world.routing }
    return HTTPRouteFeed(client: try await world.gateway("g1"))
  }

  static func activation(_ world: World, _ wiring: Wiring) async throws -> any Activation {
    if wiring == .inProcess { return world.routing }
    return HTTPActivation(client: try await world.gateway("g1"))
  }

  @Test(arguments: Wiring.allCases) func `a feed starts with a snapshot and goes on with changes`(_ wiring: Wiring)
    async throws
  {
    try await World.run { world in
      let updates = try await Self.feed(world, wiring).subscribe(gateway: "g1")
      var iterator = updates.makeAsyncIterator()
      #expect(await iterator.next() == .snapshot(functions: [], endpoints: []))
      let endpoint = EndpointRoute(
        uid: "u", pod: "p", namespace: "default", function: "f", revision: "f-00001", node: "n", state: .ready,
        endpoint: PodEndpoint(socket: "/run/a.s", host: "h", worker: nil), startup: nil, incarnation: 1)
      world.routing.noted.feeds[0].yield(.endpoint(endpoint))
      let credentials = [
        InvokeCredential(
          id: "0123456789abcdef", hash: Array(0..<32), scope: InvokeScope(namespace: "default", function: "f"),
          expires: Timestamp(milliseconds: 1000)),
        InvokeCredential(id: "0123456789abcdee", hash: [], scope: .everything),
      ]
      world.routing.noted.feeds[0].yield(.credentials(credentials))
      world.routing.noted.feeds[0].yield(.functionRemoved(namespace: "default", function: "f"))
      #expect(await iterator.next() == .endpoint(endpoint))
      #expect(await iterator.next() == .credentials(credentials))
      #expect(await iterator.next() == .functionRemoved(namespace: "default", function: "f"))
      world.routing.noted.feeds[0].finish()
      #expect(await iterator.next() == nil)
    }
  }

  @Test(arguments: Wiring.allCases) func `a dropped feed ends at its source`(_ wiring: Wiring) async throws {
    try await World.run { world in
      let feed = try await Self.feed(world, wiring)
      let following = Task {
        for await _ in try await feed.subscribe(gateway: "g1") {}
      }
      #expect(await eventually { world.routing.noted.feeds.count == 1 })
      following.cancel()
      #expect(await eventually { world.routing.noted.ended == 1 })
    }
  }

  @Test(arguments: Wiring.allCases) func `wishes, idle pods and usage arrive`(_ wiring: Wiring) async throws {
    try await World.run { world in
      let activation = try await Self.activation(world, wiring)
      let want = PodsWanted(
        gateway: "g1", namespace: "default", function: "f", revision: nil, pods: 2, reason: "2 queued")
      try await activation.want(want)
      try await activation.podIdle(uid: "u9", gateway: "g1", why: .idle)
      var usage = FunctionUsage(namespace: "default", function: "f")
      usage.calls = 3
      let sink: any UsageSink =
        wiring == .inProcess ? world.routing : HTTPUsageSink(client: try await world.gateway("g1"))
      await sink.report([usage], gateway: "g1")
      #expect(world.routing.noted.wants == [want])
      #expect(world.routing.noted.idle == ["u9"])
      #expect(world.routing.noted.usage == [usage])
    }
  }

  @Test(arguments: Wiring.allCases) func `a wish for a missing function is 404`(_ wiring: Wiring) async throws {
    try await World.run { world in
      let activation = try await Self.activation(world, wiring)
      let want = PodsWanted(
        gateway: "g1", namespace: "default", function: "missing", revision: nil, pods: 1, reason: "")
      let error = await #expect(throws: APIStatus.self) { try await activation.want(want) }
      #expect(error?.code == 404)
    }
  }

  // MARK: Logs

  static func sink(_ world: World, _ wiring: Wiring) throws -> any LogSink {
    wiring == .inProcess ? world.logs : HTTPLogSink(client: try world.node("worker-1"))
  }

  static func queries(_ world: World, _ wiring: Wiring) throws -> any LogQueries {
    wiring == .inProcess ? world.logs : HTTPLogQueries(client: try world.admin())
  }

  static func line(_ text: String) -> [UInt8] { Array("{\"msg\":\"\(text)\"}".utf8) }

  @Test(arguments: Wiring.allCases) func `appended lines are acknowledged and found once`(_ wiring: Wiring) async throws
  {
    try await World.run { world in
      let sink = try Self.sink(world, wiring)
      #expect(
        try await sink.append(source: "worker-1/a", firstSequence: 1, lines: [Self.line("a"), Self.line("b")]) == 2)
      #expect(
        try await sink.append(source: "worker-1/a", firstSequence: 2, lines: [Self.line("b"), Self.line("ç")]) == 3)
      let found = try await Self.queries(world, wiring).query(LogRequest(namespaces: nil, limit: 10))
      var lines: [[UInt8]] = []
      for try await line in found { lines.append(line) }
      #expect(lines == [Self.line("ç"), Self.line("b"), Self.line("a")])
    }
  }

  @Test(arguments: Wiring.allCases) func `a full disk is 507, and the lines may be sent again`(_ wiring: Wiring)
    async throws
  {
    try await World.run { world in
      world.logs.fill()
      let sink = try Self.sink(world, wiring)
      let error = await #expect(throws: APIStatus.self) {
        _ = try await sink.append(source: "worker-1/a", firstSequence: 1, lines: [Self.line("a")])
      }
      #expect(error?.code == 507)
    }
  }

  @Test(arguments: Wiring.allCases) func `following hears what is appended later`(_ wiring: Wiring) async throws {
    try await World.run { world in
      let live = try await Self.queries(world, wiring).follow(LogRequest(namespaces: ["default"], query: "level:error"))
      var iterator = live.makeAsyncIterator()
      #expect(await eventually { world.logs.followers == 1 })
      _ = try await world.logs.append(source: "x/1", firstSequence: 1, lines: [Self.line("now")])
      #expect(try await iterator.next() == Self.line("now"))
    }
  }

  @Test(arguments: Wiring.allCases) func `a query that cannot be read is 400`(_ wiring: Wiring) async throws {
    try await World.run { world in
      let queries = try Self.queries(world, wiring)
      let error = await #expect(throws: APIStatus.self) {
        _ = try await queries.query(LogRequest(namespaces: nil, query: "("))
      }
      #expect(error?.code == 400)
    }
  }

  @Test func `every part of a log request arrives`() async throws {
    try await World.run { world in
      let request = LogRequest(
        namespaces: ["a", "b"], query: "msg:\"x & y\" +z", since: Timestamp(nanoseconds: 1_700_000_000_123_456_789),
        until: Timestamp(milliseconds: 1_800_000_000_000), limit: 7, stats: "count() by (function)")
      for try await _ in try await HTTPLogQueries(client: try world.admin()).query(request) {}
      #expect(world.logs.requests == [request])
    }
  }

  // MARK: Packages and secrets

  static func chunks(_ bytes: [UInt8]) -> AsyncThrowingStream<[UInt8], any Error> {
    AsyncThrowingStream { sink in
      for start in stride(from: 0, to: bytes.count, by: 10_000) {
        sink.yield(Array(bytes[start..<min(bytes.count, start + 10_000)]))
      }
      sink.finish()
    }
  }

  static func artifacts(_ world: World, _ wiring: Wiring) throws -> any Artifacts {
    wiring == .inProcess ? world.artifacts : HTTPArtifacts(client: try world.admin())
  }

  @Test(arguments: Wiring.allCases) func `a package of 3 MB comes back byte for byte`(_ wiring: Wiring) async throws {
    try await World.run { world in
      var generator = SeededGenerator(seed: 42)
      let bytes = (0..<3_000_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
      let digest = FakeArtifacts.digest(bytes)
      let artifacts = try Self.artifacts(world, wiring)
      #expect(try await artifacts.has(namespace: "default", digest: digest) == false)
      try await artifacts.put(
        namespace: "default", digest: digest, size: Int64(bytes.count), chunks: Self.chunks(bytes))
      #expect(try await artifacts.has(namespace: "default", digest: digest))
      var read: [UInt8] = []
      for try await chunk in try await artifacts.get(namespace: "default", digest: digest) { read += chunk }
      #expect(read == bytes)
    }
  }

  @Test(arguments: Wiring.allCases) func `a package with another digest is 400, a missing one 404`(_ wiring: Wiring)
    async throws
  {
    try await World.run { world in
      let artifacts = try Self.artifacts(world, wiring)
      let digest = FakeArtifacts.digest([1])
      let wrong = await #expect(throws: APIStatus.self) {
        try await artifacts.put(namespace: "default", digest: digest, size: nil, chunks: Self.chunks([2]))
      }
      #expect(wrong?.code == 400)
      let missing = await #expect(throws: APIStatus.self) {
        _ = try await artifacts.get(namespace: "default", digest: digest)
      }
      #expect(missing?.code == 404)
    }
  }

  @Test(arguments: Wiring.allCases) func `secrets come back byte for byte, to the pod's node only`(_ wiring: Wiring)
    async throws
  {
    try await World.run { world in
      let here: any PodSecrets =
        wiring == .inProcess ? FakeSecrets() : HTTPPodSecrets(client: try world.node("worker-1"))
      let there: any PodSecrets =
        wiring == .inProcess ? FakeSecrets() : HTTPPodSecrets(client: try world.node("worker-2"))
      #expect(try await here.secrets(ofPod: "pod-1", node: "worker-1") == ["db": ["password": [0, 255, 10, 65]]])
      let error = await #expect(throws: APIStatus.self) {
        _ = try await there.secrets(ofPod: "pod-1", node: "worker-2")
      }
      #expect(error?.code == 403)
    }
  }
}
