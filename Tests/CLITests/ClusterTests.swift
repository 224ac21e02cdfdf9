import ClusterAPI
import ClusterModel
import Synchronization
import Testing

@testable import apus

/// One function behind the resource API: answers a scripted number of conflicts, then takes the write, and plays a watch.
private final class OneFunction: ResourceService {
  private struct State {
    var object: JSONValue
    var conflicts: Int
    var writes = 0
  }

  private let state: Mutex<State>
  private let changes: [JSONValue]

  init(_ object: JSONValue, conflicts: Int = 0, changes: [JSONValue] = []) {
    state = Mutex(State(object: object, conflicts: conflicts))
    self.changes = changes
  }

  var writes: Int { state.withLock { $0.writes } }

  func get(_ kind: ResourceKind, namespace: String?, name: String) async throws(APIStatus) -> JSONValue {
    let object = state.withLock { $0.object }
    guard object.at(path: "metadata.name")?.stringValue == name else { throw .notFound(kind, name) }
    return object
  }

  func list(_ kind: ResourceKind, namespace: String?, options: ListOptions) async throws(APIStatus) -> ResourceList {
    ResourceList(items: kind == .function ? [state.withLock { $0.object }] : [], resourceVersion: "1")
  }

  func create(_ kind: ResourceKind, namespace: String?, object: JSONValue) async throws(APIStatus) -> JSONValue {
    throw .alreadyExists(kind, object.at(path: "metadata.name")?.stringValue ?? "")
  }

  func update(
    _ kind: ResourceKind, namespace: String?, name: String, subresource: Subresource?, object: JSONValue
  ) async throws(APIStatus) -> JSONValue {
    let taken = state.withLock { state in
      state.writes += 1
      guard state.conflicts == 0 else {
        state.conflicts -= 1
        return false
      }
      state.object = object
      return true
    }
    guard taken else { throw .conflict(kind, name, "changed") }
    return object
  }

  func patch(
    _ kind: ResourceKind, namespace: String?, name: String, subresource: Subresource?, patch: JSONValue
  ) async throws(APIStatus) -> JSONValue { throw .methodNotAllowed("patch") }

  func delete(_ kind: ResourceKind, namespace: String?, name: String, uid: String?) async throws(APIStatus) -> JSONValue
  {
    throw .methodNotAllowed("delete")
  }

  func watch(
    _ kind: ResourceKind, namespace: String?, options: ListOptions, after resourceVersion: String?
  ) async throws(APIStatus) -> AsyncThrowingStream<WatchEvent, any Error> {
    let changes = changes
    return AsyncThrowingStream { continuation in
      for change in changes { continuation.yield(.modified(change)) }
    }
  }
}

private struct Nothing: Artifacts, LogQueries, ServerTables, ClusterTokens {
  func has(namespace: String, digest: String) async throws(APIStatus) -> Bool { true }
  func put(
    namespace: String, digest: String, size: Int64?, chunks: AsyncThrowingStream<[UInt8], any Error>
  ) async throws(APIStatus) {}
  func get(namespace: String, digest: String) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error> {
    throw .noSuchPath("artifacts")
  }
  func query(_ request: LogRequest) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error> {
    AsyncThrowingStream { $0.finish() }
  }
  func follow(_ request: LogRequest) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error> {
    AsyncThrowingStream { $0.finish() }
  }
  func table(
    _ kind: ResourceKind, namespace: String?, name: String?, options: ListOptions
  ) async throws(APIStatus) -> JSONValue { .object([:]) }
  func watchTable(
    _ kind: ResourceKind, namespace: String?, options: ListOptions, after resourceVersion: String?
  ) async throws(APIStatus) -> AsyncThrowingStream<JSONValue, any Error> { AsyncThrowingStream { $0.finish() } }
  func createJoinToken(_ role: MemberRole, life: TimeSpan) async throws(APIStatus) -> String { "token" }
  func createInvokeToken(
    namespace: String, function: String?, life: TimeSpan?
  ) async throws(APIStatus) -> String { "token" }
  func tokens() async throws(APIStatus) -> [TokenSummary] { [] }
  func revokeToken(_ id: String) async throws(APIStatus) {}
}

@Suite struct ClusterTests {
  private func cluster(_ resources: OneFunction) -> ClusterConnection {
    ClusterConnection(
      resources: resources, artifacts: Nothing(), logs: Nothing(), tables: Nothing(), tokens: Nothing(),
      api: "https://a", gateway: "http://g", namespace: "default")
  }

  @Test func `tokens are listed with what they are for and when they end`() {
    let now = Samples.now
    let table = TokenList.table(
      [
        TokenSummary(
          id: "5c1e0a7b9d3f2468", role: "invoke", scope: "default/greet", created: now.advanced(milliseconds: -60_000),
          expires: now.advanced(milliseconds: 30 * 86_400_000)),
        TokenSummary(id: "0011", role: "admin", scope: "admin", created: now, expires: nil),
        TokenSummary(id: "0012", role: "join", scope: "node", created: now, expires: now),
      ], now: now)
    #expect(table.rows.map(\.last) == ["in 30d", "never", "expired"])
    #expect(table.rows[0] == ["5c1e0a7b9d3f2468", "invoke", "default/greet", "60s", "in 30d"])
  }

  @Test func `a write that meets other writers is made again on what they wrote, a bounded number of times`()
    async throws
  {
    let object = try JSONValue(encoding: Samples.function())
    let few = OneFunction(object, conflicts: 3)
    let written = try await FunctionWrite(cluster: cluster(few), namespace: "default").change("greet") { object in
      object = object.merging(patch: .object(["spec": .object(["handler": .string("new.py")])]))
    }
    #expect(written.spec.handler == "new.py")
    #expect(few.writes == 4)
    let many = OneFunction(object, conflicts: .max)
    await #expect(throws: APIStatus.self) {
      try await FunctionWrite(cluster: cluster(many), namespace: "default").change("greet") { _ in }
    }
    #expect(many.writes == FunctionWrite.attempts)
  }

  @Test func `a rollout ends with the first decisive change of its own generation`() async throws {
    let older = try JSONValue(encoding: Samples.function { $0.status?.observedGeneration = 1 })
    let ready = try JSONValue(encoding: Samples.function())
    let line = try await Rollout(
      cluster: cluster(OneFunction(ready, changes: [older, ready])), namespace: "default", function: Samples.function()
    ).ready()
    #expect(line == "ready      greet-00002   http://g/function/greet")
    let failed = try JSONValue(
      encoding: Samples.function { function in
        function.status?.conditions = [
          Condition(
            type: "Ready", status: false, reason: "RevisionFailed", message: "last lines:\nboom\u{1B}[2J",
            at: Samples.now)
        ]
      })
    do {
      _ = try await Rollout(
        cluster: cluster(OneFunction(failed, changes: [failed])), namespace: "default", function: Samples.function()
      ).ready()
      Issue.record("no failure")
    } catch let failure as Failure {
      #expect(failure.message == "last lines:\nboom\\x1b[2J")
      #expect(failure.status == 1)
    }
  }

  @Test func `a name that does not exist suggests one that does`() async throws {
    let cluster = cluster(OneFunction(try JSONValue(encoding: Samples.function())))
    let failure = await cluster.missing(.function, "gret", in: "default")
    #expect(failure.message == "no function \"gret\" in namespace \"default\". Did you mean \"greet\"?")
    await #expect(throws: Failure.self) { try await cluster.function("gret", in: "default") }
    #expect(cluster.url(of: "greet", in: "staging") == "http://g/function/greet.staging")
  }
}
