import ClusterModel
import Glibc
import Logging
import NIOPosix
import PodSandbox
import Synchronization

/// What a node has to give its pods a way out.
struct EgressMaker: Sendable {
  let spawner: Spawner
  let forwarder: PortForwarder
  let ends: PodEnds
  /// What carries packets; nil where no pod asked for that.
  let plan: EgressProcess.Plan?
  let gateways: @Sendable () -> [String]
  let logger: Logger

  /// Makes the ways out of a pod that waits for what it is to be: whatever it does first, they are there.
  func open(_ order: SandboxOrder, for pod: Sandbox) async throws -> PodEgress {
    guard let caller = order.caller else { throw SandboxError.invalidSpec("egress without a name for the pod") }
    let listener = try await forwarder.listen(in: pod, port: PodCaller.port)
    let gate = try await PodGate(
      listener: listener, caller: caller, gateways: gateways, group: MultiThreadedEventLoopGroup.singleton)
    guard order.egress == .internet else { return PodEgress(gate: gate, interface: -1) }
    do {
      return PodEgress(gate: gate, interface: try await EgressProcess.interface(of: pod, through: forwarder))
    } catch {
      await gate.close()
      throw error
    }
  }

  /// Starts what carries the pod's packets, beside the pod's own start; the pod ends with it.
  func carry(_ egress: PodEgress, of pod: Sandbox) {
    guard egress.hasInterface else { return }
    // Ends with the process, which `PodEgress.close` ends at the latest.
    egress.carries(
      Task {
        do {
          guard let plan else { throw SandboxError.invalidSpec("this node has no way to the internet") }
          let process = try await EgressProcess.start(plan, for: pod, interface: egress.interface, by: spawner)
          egress.runs(process)
          let exit = await ends.follow(process.sandbox.ticket, of: spawner).value
          let words = process.lastWords()
          egress.failed(words.isEmpty ? "its way to the internet ended (status \(exit.status))" : words)
        } catch {
          egress.failed("\(error)")
        }
        if let why = egress.failure {
          logger.warning("a pod's way to the internet is gone", metadata: ["slot": "\(pod.slot)", "error": "\(why)"])
          spawner.signal(pod, SIGKILL)
        }
      })
  }
}

/// The ways out of one pod, as long as it lives.
final class PodEgress: Sendable {
  private struct State {
    var interface: CInt
    var process: EgressProcess?
    var task: Task<Void, Never>?
    var failure: String?
    var closed = false
  }

  private let gate: PodGate
  /// The descriptor of its interface until the process has it; -1 for none.
  let interface: CInt
  private let state: Mutex<State>

  init(gate: PodGate, interface: CInt) {
    self.gate = gate
    self.interface = interface
    state = Mutex(State(interface: interface))
  }

  var hasInterface: Bool { interface >= 0 }

  /// Why its packets are carried no more, while the pod lived.
  var failure: String? { state.withLock { $0.failure } }

  func carries(_ task: Task<Void, Never>) { state.withLock { $0.task = task } }

  /// The process has the interface; it ends at once when the pod is gone already.
  func runs(_ process: EgressProcess) {
    let closed = state.withLock { state in
      state.process = process
      closeInterface(&state)
      return state.closed
    }
    if closed { process.stop() }
  }

  func failed(_ why: String) {
    state.withLock { state in
      closeInterface(&state)
      if !state.closed { state.failure = why }
    }
  }

  /// The end of a pod, which is the end of its ways and names theirs where that ended it.
  func follow(_ ending: Task<PodExit, Never>) async -> PodExit {
    var exit = await ending.value
    // So that nothing of it is left when its slot is given to another.
    await close()
    if let failure, exit.cause == nil { exit.cause = failure }
    return exit
  }

  /// Ends them.
  func close() async {
    let (process, task) = state.withLock { state in
      state.closed = true
      return (state.process, state.task)
    }
    process?.stop()
    await gate.close()
    await task?.value
    state.withLock { closeInterface(&$0) }
  }

  private func closeInterface(_ state: inout sending State) {
    if state.interface >= 0 { Glibc.close(state.interface) }
    state.interface = -1
  }
}

/// A copy of this host's resolv.conf in a folder that the processes which carry packets see.
enum Resolvers {
  /// Writes the copy anew where it is not what the host has; answers the folder.
  static func copy(into folder: String) throws -> String {
    try Descriptors.makeFolder(folder, mode: 0o755)
    let contents = Descriptors.contents(of: "/etc/resolv.conf") ?? []
    if Descriptors.contents(of: "\(folder)/resolv.conf") != contents {
      try Descriptors.replace("\(folder)/resolv.conf", with: contents, mode: 0o644)
    }
    return folder
  }
}
