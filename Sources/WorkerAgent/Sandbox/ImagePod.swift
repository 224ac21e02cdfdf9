import ClusterModel
import Glibc
import ImageStore
import PodSandbox

/// What is different about a pod made from a container image: its root, its user, where it starts, how it is stopped.
enum ImagePod {
  /// The spec of such a pod and its root, which was opened for it; the descriptor is the caller's to close.
  static func spec(_ order: SandboxOrder, _ held: HeldImage) async throws(SandboxError) -> (SandboxSpec, root: CInt) {
    guard !order.arguments.isEmpty else {
      throw .invalidSpec("the image names no program to run (neither entrypoint nor command); set spec.command")
    }
    var bind = LinuxSandboxes.bind(order)
    bind.directory = held.image.config.directory.isEmpty ? "/" : held.image.config.directory
    let first = HostUsers.current.user(ofSlot: order.slot)
    let writes = OverlayRoot.Writes(bytes: bind.limits.tmpBytes, inodes: bind.limits.tmpInodes)
    let root = try await OverlayRoot.open(
      layers: held.folders, firstUser: first, writes: order.rootWritable ? writes : nil)
    var stem = LinuxSandboxes.stem(order, .mounted(root, writable: order.rootWritable), bind.limits)
    // User n of the image is user n of the slot's 65,536 on the host: none of them is anybody there.
    stem.hostUID = first + held.image.user
    stem.hostGID = first + held.image.group
    return (SandboxSpec(stem: stem, bind: bind), root)
  }

  /// The signals that process 1 of a pod passes on, by the names an image may give them.
  private static let signals: [String: CInt] = [
    "SIGTERM": SIGTERM, "SIGINT": SIGINT, "SIGHUP": SIGHUP, "SIGQUIT": SIGQUIT, "SIGUSR1": SIGUSR1,
    "SIGUSR2": SIGUSR2, "SIGWINCH": SIGWINCH,
  ]

  /// What asks a pod to end: SIGTERM, unless its image names another signal that is passed on.
  static func stopSignal(_ held: HeldImage?) -> CInt {
    guard let name = held?.image.config.stopSignal?.uppercased() else { return SIGTERM }
    if let number = CInt(name) { return signals.values.contains(number) ? number : SIGTERM }
    return signals[name] ?? signals["SIG\(name)"] ?? SIGTERM
  }
}
