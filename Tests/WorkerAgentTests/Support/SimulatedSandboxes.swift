import ClusterAPI
import ClusterModel
import Foundation
import Synchronization

@testable import WorkerAgent

/// Pods without processes: a test decides when they wake, write and end.
final class SimulatedSandboxes: SandboxEngine {
  /// What a new pod does.
  enum Behaviour: Sendable {
    /// Sends its control byte at once.
    case ready
    /// Waits for the test.
    case hold
    /// Writes a line and ends with a code before it is ready.
    case dies(Int32)
    /// Cannot be started.
    case refused(String)
    /// Ignores SIGTERM.
    case stubborn
  }

  private struct State {
    var behaviour = Behaviour.ready
    var pods: [SimulatedPod] = []
    var opened = 0
    var closed = 0
  }

  private let state = Mutex(State())
  let isolation = ["simulated"]

  func open() async throws { state.withLock { $0.opened += 1 } }

  func close() async {
    let pods = state.withLock { state in
      state.closed += 1
      return state.pods
    }
    for pod in pods { pod.end(PodExit(signal: 9)) }
  }

  func start(_ order: SandboxOrder) async throws -> any RunningPod {
    let behaviour = state.withLock { $0.behaviour }
    if case .refused(let why) = behaviour { throw WorkerError.failed(why) }
    let pod = SimulatedPod(order, obeysTerm: { if case .stubborn = behaviour { false } else { true } }())
    state.withLock { $0.pods.append(pod) }
    switch behaviour {
    case .ready, .stubborn: pod.wake()
    case .dies(let code):
      pod.write("it will not work", to: .stderr)
      pod.end(PodExit(code: code))
    case .hold, .refused: break
    }
    return pod
  }

  func behave(_ behaviour: Behaviour) { state.withLock { $0.behaviour = behaviour } }
  var pods: [SimulatedPod] { state.withLock { $0.pods } }
  var alive: [SimulatedPod] { pods.filter(\.isAlive) }
  var closed: Int { state.withLock { $0.closed } }
}

/// One of them; holds copies of the descriptors a process would hold.
final class SimulatedPod: RunningPod {
  private struct State {
    var descriptors: [LogStream?: CInt]
    var control: CInt
    var alive = true
  }

  let order: SandboxOrder
  private let state: Mutex<State>
  private let exits: AsyncStream<PodExit>
  private let exiting: AsyncStream<PodExit>.Continuation
  private let obeysTerm: Bool

  init(_ order: SandboxOrder, obeysTerm: Bool) {
    self.order = order
    self.obeysTerm = obeysTerm
    (exits, exiting) = AsyncStream.makeStream()
    state = Mutex(
      State(
        descriptors: [.stdout: dup(order.stdout), .stderr: dup(order.stderr), nil: dup(order.frames)],
        control: dup(order.control)))
  }

  deinit { end(PodExit(signal: 9)) }

  var isAlive: Bool { state.withLock { $0.alive } }

  func wake() { state.withLock { if $0.alive { _ = Foundation.write($0.control, "1", 1) } } }

  /// Writes a line to standard output or error, or a frame.
  func write(_ line: String, to stream: LogStream?) {
    state.withLock { state in
      guard state.alive, let fd = state.descriptors[stream] else { return }
      let bytes = Array((line + "\n").utf8)
      _ = Foundation.write(fd, bytes, bytes.count)
    }
  }

  func end(_ exit: PodExit) {
    let first = state.withLock { state in
      guard state.alive else { return false }
      state.alive = false
      for fd in state.descriptors.values where fd >= 0 { close(fd) }
      if state.control >= 0 { close(state.control) }
      return true
    }
    guard first else { return }
    exiting.yield(exit)
    exiting.finish()
  }

  func marks() -> StartMarks { StartMarks() }
  func terminate() { if obeysTerm { end(PodExit(signal: 15)) } }
  func kill() { end(PodExit(signal: 9)) }

  func exit() async -> PodExit {
    for await exit in exits { return exit }
    return PodExit()
  }

  func connect(port: UInt16) async throws -> CInt? { nil }

  func firstConnection(port: UInt16, expected: UInt64?) async throws -> CInt {
    // Nothing ever listens: until the task is cancelled.
    for await _ in AsyncStream<Void>.makeStream().stream {}
    throw CancellationError()
  }

  func memory() -> Int64? { isAlive ? 42 << 20 : nil }
}

/// Packages that are always there.
actor SimulatedPackages: PackageSource {
  private(set) var held: [String: Int] = [:]
  private var failure: String?

  /// Fetches that go on until `letGo`, whoever waits for them.
  private var stalls = false
  private var stalled: [CheckedContinuation<Void, Never>] = []

  func fail(_ why: String?) { failure = why }
  func stall() { stalls = true }

  func letGo() {
    stalls = false
    for fetch in stalled { fetch.resume() }
    stalled = []
  }

  func folder(namespace: String, digest: String) async throws -> String {
    if let failure { throw WorkerError.failed(failure) }
    held[digest, default: 0] += 1
    if stalls { await withCheckedContinuation { stalled.append($0) } }
    return "/nowhere"
  }

  nonisolated func folderHere(digest: String) -> String? { nil }
  func release(digest: String) { held[digest, default: 0] -= 1 }
  func digests() -> [String] { Array(held.keys) }
}

/// Secrets by pod uid.
struct SimulatedSecrets: PodSecrets {
  var all: [String: [String: [UInt8]]] = [:]

  func secrets(ofPod uid: String, node: String) async throws(APIStatus) -> [String: [String: [UInt8]]] { all }
}
