import ClusterAPI
import ClusterModel
import Crypto
import Foundation
import Synchronization

/// Sessions that note what they hear; a name on the list of refused ones gets 409.
final class FakeSessions: NodeSessions {
  struct Session: Sendable {
    let hello: WorkerHello
    let commands: AsyncStream<NodeCommand>.Continuation
    var messages: [WorkerMessage] = []
    var closed: Bool?
  }

  private let state = Mutex<[Session]>([])
  var all: [Session] { state.withLock { $0 } }

  func open(_ hello: WorkerHello) async throws(APIStatus) -> NodeSessionHandle {
    if hello.name == "refused" { throw .conflict(.node, hello.name, "it is refused") }
    let (stream, sink) = AsyncStream<NodeCommand>.makeStream()
    let index = state.withLock { sessions in
      sessions.append(Session(hello: hello, commands: sink))
      return sessions.count - 1
    }
    let epoch = UInt64(index + 7)
    sink.yield(NodeCommand(id: 1, epoch: epoch, action: .keep(uids: hello.running.map(\.uid))))
    return NodeSessionHandle(
      epoch: epoch, commands: stream,
      receive: { message in self.state.withLock { $0[index].messages.append(message) } },
      closed: { clean in self.state.withLock { $0[index].closed = clean } })
  }
}

/// A feed, activation and usage sink that note what they are told.
final class FakeRouting: RouteFeed, Activation, UsageSink {
  struct Noted: Sendable {
    var wants: [PodsWanted] = []
    var idle: [String] = []
    var usage: [FunctionUsage] = []
    var feeds: [AsyncStream<RouteUpdate>.Continuation] = []
    var ended = 0
  }

  private let state = Mutex(Noted())
  var noted: Noted { state.withLock { $0 } }

  func subscribe(gateway: String) async throws(APIStatus) -> AsyncStream<RouteUpdate> {
    if gateway == "refused" { throw .unavailable("no more gateways") }
    let (stream, sink) = AsyncStream<RouteUpdate>.makeStream()
    sink.yield(.snapshot(functions: [], endpoints: []))
    sink.onTermination = { _ in self.state.withLock { $0.ended += 1 } }
    state.withLock { $0.feeds.append(sink) }
    return stream
  }

  func want(_ want: PodsWanted) async throws(APIStatus) {
    if want.function == "missing" { throw .notFound(.function, want.function) }
    state.withLock { $0.wants.append(want) }
  }

  func podIdle(uid: String, gateway: String, why: PodRelease) async throws(APIStatus) {
    state.withLock { $0.idle.append(uid) }
  }

  func report(_ usage: [FunctionUsage], gateway: String) async { state.withLock { $0.usage += usage } }
}

/// Logs in memory; queries know `pod:"NAME"` only, following gets what is appended later.
final class FakeLogs: LogSink, LogQueries {
  private struct State {
    var lines: [[UInt8]] = []
    var seen: [String: UInt64] = [:]
    var followers: [AsyncThrowingStream<[UInt8], any Error>.Continuation] = []
    var requests: [LogRequest] = []
    var full = false
  }

  private let state = Mutex(State())
  var requests: [LogRequest] { state.withLock { $0.requests } }
  var lines: [String] { state.withLock { $0.lines.map { String(decoding: $0, as: UTF8.self) } } }
  var followers: Int { state.withLock { $0.followers.count } }
  func fill() { state.withLock { $0.full = true } }

  func append(source: String, firstSequence: UInt64, lines: [[UInt8]]) async throws(APIStatus) -> UInt64 {
    let acked: UInt64? = state.withLock { state in
      if state.full { return nil }
      for (offset, line) in lines.enumerated() where firstSequence + UInt64(offset) > state.seen[source] ?? 0 {
        state.lines.append(line)
        state.seen[source] = firstSequence + UInt64(offset)
        for follower in state.followers { follower.yield(line) }
      }
      return state.seen[source] ?? 0
    }
    guard let acked else { throw .storageFull("the disk of the logs is nearly full") }
    return acked
  }

  func query(_ request: LogRequest) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error> {
    if request.query == "(" { throw .badRequest("the query ends inside a parenthesis") }
    let found = state.withLock { state in
      state.requests.append(request)
      let pod = request.query.split(separator: "\"").dropFirst().first.map(String.init)
      let chosen = state.lines.filter { line in
        pod == nil || String(decoding: line, as: UTF8.self).contains("\"pod\":\"\(pod ?? "")\"")
      }
      return Array(chosen.reversed().prefix(request.limit))
    }
    return AsyncThrowingStream { sink in
      for line in found { sink.yield(line) }
      sink.finish()
    }
  }

  func follow(_ request: LogRequest) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error> {
    let (stream, sink) = AsyncThrowingStream<[UInt8], any Error>.makeStream()
    state.withLock { $0.followers.append(sink) }
    return stream
  }
}

/// Packages in memory, checked against their digest.
final class FakeArtifacts: Artifacts {
  private let state = Mutex<[String: [UInt8]]>([:])

  static func digest(_ bytes: [UInt8]) -> String {
    "sha256:" + SHA256.hash(data: bytes).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  func has(namespace: String, digest: String) async throws(APIStatus) -> Bool { state.withLock { $0[digest] != nil } }

  func put(
    namespace: String, digest: String, size: Int64?, chunks: AsyncThrowingStream<[UInt8], any Error>
  ) async throws(APIStatus) {
    var bytes: [UInt8] = []
    do {
      for try await chunk in chunks { bytes += chunk }
    } catch {
      throw .badRequest("the upload broke: \(error)")
    }
    guard Self.digest(bytes) == digest else { throw .badRequest("the bytes do not have the digest \(digest)") }
    state.withLock { $0[digest] = bytes }
  }

  func get(namespace: String, digest: String) async throws(APIStatus) -> AsyncThrowingStream<[UInt8], any Error> {
    guard let bytes = state.withLock({ $0[digest] }) else {
      throw APIStatus(code: 404, reason: "NotFound", message: "no package \(digest)")
    }
    return AsyncThrowingStream { sink in
      for start in stride(from: 0, to: bytes.count, by: 65_536) {
        sink.yield(Array(bytes[start..<min(bytes.count, start + 65_536)]))
      }
      sink.finish()
    }
  }
}

/// Secrets of the pod `pod-1` on `worker-1`.
struct FakeSecrets: PodSecrets {
  func secrets(ofPod uid: String, node: String) async throws(APIStatus) -> [String: [String: [UInt8]]] {
    guard uid == "pod-1", node == "worker-1" else { throw .forbidden("the pod is not on node \(node)") }
    return ["db": ["password": [0, 255, 10, 65]]]
  }
}

/// Packages of pods and the nodes these were given to, as tests say.
final class FakePlacements: PodPlacements {
  private let places = Mutex<Set<[String]>>([])

  func place(_ digest: String, namespace: String, on node: String) {
    places.withLock { _ = $0.insert([digest, namespace, node]) }
  }

  func isPlaced(_ digest: String, namespace: String, on node: String) async -> Bool {
    places.withLock { $0.contains([digest, namespace, node]) }
  }
}
