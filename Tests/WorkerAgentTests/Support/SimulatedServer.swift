import ClusterAPI
import ClusterModel
import Foundation
import Synchronization

/// The server's side of sessions, as a test drives it.
final class SimulatedServer: NodeSessions {
  private struct State {
    var refusing = false
    var hellos: [WorkerHello] = []
    var messages: [WorkerMessage] = []
    var reports: [String: [PodReport]] = [:]
    var closed: [Bool] = []
    var epoch: UInt64 = 0
    var commandID: UInt64 = 0
    var commands: AsyncStream<NodeCommand>.Continuation?
    var keepsOnOpen = true
    var openedAt: [ContinuousClock.Instant] = []
    var refusals = 0
  }

  private let state = Mutex(State())

  func open(_ hello: WorkerHello) async throws(APIStatus) -> NodeSessionHandle {
    let (stream, continuation) = AsyncStream<NodeCommand>.makeStream()
    let epoch = state.withLock { state -> UInt64? in
      guard !state.refusing else {
        state.refusals += 1
        return nil
      }
      state.openedAt.append(.now)
      state.hellos.append(hello)
      state.commands?.finish()
      state.commands = continuation
      state.epoch += 1
      if state.keepsOnOpen {
        state.commandID += 1
        continuation.yield(
          NodeCommand(id: state.commandID, epoch: state.epoch, action: .keep(uids: hello.running.map(\.uid))))
      }
      return state.epoch
    }
    guard let epoch else { throw .unavailable("the server is away") }
    return NodeSessionHandle(
      epoch: epoch, commands: stream,
      receive: { message in
        self.state.withLock { state in
          state.messages.append(message)
          if case .pod(let report) = message { state.reports[report.uid, default: []].append(report) }
        }
      },
      closed: { clean in self.state.withLock { $0.closed.append(clean) } })
  }

  /// Sends a command on the session there is; `epoch` nil for its own.
  func send(_ action: NodeCommand.Action, epoch: UInt64? = nil) {
    state.withLock { state in
      state.commandID += 1
      _ = state.commands?.yield(
        NodeCommand(id: state.commandID, epoch: epoch ?? state.epoch, action: action))
    }
  }

  /// Ends the session and, with `refusing`, takes no new one.
  func disconnect(refusing: Bool = false) {
    state.withLock { state in
      state.refusing = refusing
      state.commands?.finish()
      state.commands = nil
    }
  }

  /// Counts sessions from here, as a server does whose state was put back.
  func count(from epoch: UInt64) { state.withLock { $0.epoch = epoch } }
  func refuse(_ refusing: Bool) { state.withLock { $0.refusing = refusing } }
  func keepOnOpen(_ keeps: Bool) { state.withLock { $0.keepsOnOpen = keeps } }
  func latest(_ uid: String) -> PodReport? { state.withLock { $0.reports[uid]?.last } }
  func life(_ uid: String) -> PodLife? { latest(uid)?.detail.life }
  func lives(_ uid: String) -> [PodLife] { state.withLock { ($0.reports[uid] ?? []).map(\.detail.life) } }
  var hellos: [WorkerHello] { state.withLock { $0.hellos } }
  var messages: [WorkerMessage] { state.withLock { $0.messages } }
  var closed: [Bool] { state.withLock { $0.closed } }
  var refusals: Int { state.withLock { $0.refusals } }
  var epoch: UInt64 { state.withLock { $0.epoch } }
  var events: [ReportedEvent] {
    messages.compactMap { if case .event(let event) = $0 { event } else { nil } }
  }
}

/// A log service in memory that deduplicates by sequence as the real one does, and fails on demand.
final class SimulatedLogs: LogSink {
  enum Failure: Sendable {
    case none
    /// Nothing was taken.
    case away
    /// All was taken, but the answer was lost.
    case answerLost
    /// Only the first half was taken.
    case half
    case refuses(containing: String)
  }

  private struct State {
    var records: [String: [(sequence: UInt64, line: String)]] = [:]
    var duplicates = 0
    var calls = 0
    var script: [Failure] = []
    var standing = Failure.none
  }

  private let state = Mutex(State())

  func append(source: String, firstSequence: UInt64, lines: [[UInt8]]) async throws(APIStatus) -> UInt64 {
    let result = state.withLock { state -> Result<UInt64, APIStatus> in
      state.calls += 1
      let failure = state.script.isEmpty ? state.standing : state.script.removeFirst()
      if case .away = failure { return .failure(.unavailable("away")) }
      let texts = lines.map { String(decoding: $0, as: UTF8.self) }
      if case .refuses(let word) = failure, texts.contains(where: { $0.contains(word) }) {
        return .failure(.badRequest("a record is not one"))
      }
      var taken = texts.count
      if case .half = failure { taken = max(1, taken / 2) }
      var highest = state.records[source]?.last?.sequence ?? 0
      for (index, text) in texts.prefix(taken).enumerated() {
        let sequence = firstSequence + UInt64(index)
        if sequence > highest {
          state.records[source, default: []].append((sequence, text))
          highest = sequence
        } else {
          state.duplicates += 1
        }
      }
      if case .answerLost = failure { return .failure(.internalError("the answer was lost")) }
      return .success(highest)
    }
    return try result.get()
  }

  func fail(_ failure: Failure) { state.withLock { $0.standing = failure } }
  func script(_ failures: [Failure]) { state.withLock { $0.script = failures } }
  var calls: Int { state.withLock { $0.calls } }
  var sources: [String] { state.withLock { Array($0.records.keys) } }
  var lines: [String] { state.withLock { $0.records.values.flatMap { $0.map(\.line) } } }
  var sequences: [UInt64] { state.withLock { $0.records.values.flatMap { $0.map(\.sequence) } } }
  func records() -> [LogRecord] {
    lines.compactMap { try? JSONDecoder().decode(LogRecord.self, from: Data($0.utf8)) }
  }
}
