import CLinux
import Glibc
import Synchronization

/// The process that carries the packets of one pod with `egress: internet`, in a sandbox of its own: another user, the
/// host's network, the groups of the pod it serves. It is a child of the spawner as its pod is, and ends with it.
package final class EgressProcess: Sendable {
  /// What it is started with.
  package struct Plan: Sendable {
    /// The root of kind `egress`, with the program in it.
    package var root: PreparedRoot
    /// A folder of the host with a copy of its resolv.conf.
    package var folder: String
    /// What this node opens.
    package var network: EgressNetwork

    /// A plan of all parts.
    package init(root: PreparedRoot, folder: String, network: EgressNetwork) {
      self.root = root
      self.folder = folder
      self.network = network
    }
  }

  /// Open connections of a pod and what the process needs beside them.
  private static let descriptors: UInt32 = 1088
  /// Processes it adds to its pod's groups: its own first one and the program.
  package static let processes: UInt32 = 2
  /// Bytes of its last words that are kept.
  private static let wordsMax = 1024

  /// Its process.
  package let sandbox: Sandbox
  private let spawner: Spawner
  /// The pipe with what it writes before it ends.
  private let words: Mutex<CInt>

  private init(sandbox: Sandbox, spawner: Spawner, words: CInt) {
    self.sandbox = sandbox
    self.spawner = spawner
    self.words = Mutex(words)
  }

  deinit { words.withLock { _ = close($0) } }

  /// Makes the interface inside a pod that waits for what it is to be. From then on its packets wait for the process.
  package static func interface(of pod: Sandbox, through forwarder: PortForwarder) async throws -> CInt {
    try await forwarder.interface(in: pod)
  }

  /// Starts it for a pod on its interface, which stays the caller's to close. Its end comes through `Spawner.exits`.
  package static func start(
    _ plan: Plan, for pod: Sandbox, interface: CInt, by spawner: Spawner
  ) async throws(SandboxError) -> EgressProcess {
    var pipe: [CInt] = [-1, -1]
    guard apus_pipe(&pipe) == 0 else { throw .host(doing: "making a pipe", errno: errno) }
    _ = fcntl(pipe[0], F_SETFL, O_NONBLOCK)
    var stem = StemSpec(slot: pod.slot, origin: .root(plan.root.path))
    stem.hostUID = HostUsers.current.egressUser(ofSlot: pod.slot)
    stem.limits = SandboxLimits(tmpBytes: 4096, tmpInodes: 2, openFiles: descriptors)
    stem.hostNetwork = true
    stem.joins = pod.cgroup
    stem.listener = interface
    stem.stderr = pipe[1]
    let bind = BindSpec(
      hostname: "egress", codePath: plan.folder, directory: "/", arguments: plan.network.arguments,
      limits: stem.limits)
    do throws(SandboxError) {
      let sandbox = try await spawner.start(SandboxSpec(stem: stem, bind: bind))
      close(pipe[1])
      return EgressProcess(sandbox: sandbox, spawner: spawner, words: pipe[0])
    } catch {
      close(pipe[0])
      close(pipe[1])
      throw error
    }
  }

  /// Ends it.
  package func stop() { spawner.signal(sandbox, SIGKILL) }

  /// What it wrote before it ended, once it has; empty when nothing.
  package func lastWords() -> String {
    var bytes = [UInt8](repeating: 0, count: Self.wordsMax)
    let count = words.withLock { read($0, &bytes, bytes.count) }
    let text = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    return String(text.prefix { $0 != "\n" })
  }
}
