import ClusterAPI
import ClusterModel
import Foundation
import Synchronization

@testable import ControlPlane

/// A worker whose pods become ready, fail or linger as the test decides.
final class TestWorker: Sendable {
  enum Behaviour: Sendable {
    case ready
    case fail(String)
    case hold
    case refuse
  }

  /// What the worker knows and has been told.
  final class Memory: Sendable {
    struct State {
      var behaviour = Behaviour.ready
      var running: [String: PodReport] = [:]
      var started: [PodAssignment] = []
      var stopped: [String] = []
      var kept: [String]?
    }
    let state = Mutex(State())
  }

  let name: String
  let memory = Memory()
  private let handle: NodeSessionHandle
  private let reader: Task<Void, Never>

  init(
    _ name: String, _ cluster: TestCluster, behaviour: Behaviour = .ready, running: [PodReport] = [],
    memory bytes: Int64 = 4 << 30
  ) async throws {
    self.name = name
    memory.state.withLock { state in
      state.behaviour = behaviour
      for report in running { state.running[report.uid] = report }
    }
    let info = NodeInfo(kernelVersion: "6", osImage: "test", version: "0.1.0", architecture: "amd64")
    let hello = WorkerHello(
      name: name, session: UUID().uuidString, labels: [:], milliCPU: 2000, memory: bytes, pods: 100, address: nil,
      host: "test", info: info, isolation: [], artifacts: [], running: running)
    let handle = try await cluster.plane.orchestrator.open(hello)
    self.handle = handle
    reader = Task { [memory] in
      for await command in handle.commands { await Self.obey(command.action, memory, handle) }
    }
  }

  deinit { reader.cancel() }

  var running: [PodReport] { memory.state.withLock { Array($0.running.values) } }
  var started: [PodAssignment] { memory.state.withLock { $0.started } }
  var stopped: [String] { memory.state.withLock { $0.stopped } }
  var kept: [String]? { memory.state.withLock { $0.kept } }

  func behave(_ behaviour: Behaviour) { memory.state.withLock { $0.behaviour = behaviour } }

  func heartbeat() async { await handle.receive(.heartbeat) }

  /// The connection ends without goodbye.
  func vanish() async {
    reader.cancel()
    await handle.closed(false)
  }

  /// Commands are lost from now on, and the server does not know.
  func deaf() async {
    reader.cancel()
    await reader.value
  }

  /// Sends a report of a pod as it now is.
  func report(_ report: PodReport) async { await handle.receive(.pod(report)) }

  private static func obey(_ action: NodeCommand.Action, _ memory: Memory, _ handle: NodeSessionHandle) async {
    switch action {
    case .keep(let uids):
      memory.state.withLock { state in
        state.kept = uids
        state.running = state.running.filter { uids.contains($0.key) }
      }
    case .start(let assignment): await start(assignment, memory, handle)
    case .stop(let uid, _):
      let ended = memory.state.withLock { state -> PodReport? in
        state.stopped.append(uid)
        return state.running.removeValue(forKey: uid)
      }
      if var ended {
        ended.detail.life = .gone
        ended.detail.reason = "Stopped"
        await handle.receive(.pod(ended))
      }
    case .drain, .ping: break
    }
  }

  private static func start(_ assignment: PodAssignment, _ memory: Memory, _ handle: NodeSessionHandle) async {
    var detail = PodDetail(
      function: assignment.spec.function, revision: assignment.revision, life: .starting)
    var report = PodReport(uid: assignment.uid, name: assignment.name, namespace: assignment.namespace, detail: detail)
    let behaviour = memory.state.withLock { state in
      state.started.append(assignment)
      state.running[assignment.uid] = report
      return state.behaviour
    }
    await handle.receive(.pod(report))
    switch behaviour {
    case .hold: return
    case .ready:
      detail.life = .ready
      detail.everReady = true
      detail.endpoint = PodEndpoint(socket: "/tmp/\(assignment.uid)", host: "test", worker: nil)
    case .refuse:
      detail.life = .gone
      detail.failed = true
      detail.everReady = false
      detail.reason = PodDetail.refused
    case .fail(let message):
      detail.life = .gone
      detail.failed = true
      detail.reason = "StartFailed"
      detail.message = message
    }
    report.detail = detail
    memory.state.withLock { $0.running[assignment.uid] = detail.life == .gone ? nil : report }
    await handle.receive(.pod(report))
  }
}
