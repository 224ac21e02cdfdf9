import CLinux
import Glibc

/// What making one stem sends: the message, and descriptors of the pod's groups, its socket and its root.
struct PreparedStem: Sendable {
  var message: [UInt8] = []
  /// All descriptors in the protocol's order, the caller's among them.
  var descriptors: [CInt] = []
  /// Those we opened and must close when the answer came.
  var owned: [CInt] = []
  /// Our end of the stem's socket; the stem's from the moment it stands.
  var socket: CInt = -1
  var cgroup: Cgroup?

  func closeDescriptors() {
    for fd in owned { close(fd) }
  }

  /// Makes the groups and opens everything; on failure nothing is left. Some 0.2 ms of short system calls, off the
  /// caller's actor.
  @concurrent
  static func prepare(_ spec: StemSpec, ticket: UInt64, tree: CgroupTree) async throws(SandboxError) -> PreparedStem {
    let v2 = tree.layout.version == .v2
    var start = PreparedStem()
    do throws(SandboxError) {
      var groups: [CInt] = []
      // The message first: it refuses a bad spec before anything exists.
      start.message = try SpawnerMessage.spawn(spec, ticket: ticket, cgroups: tree.expectedDescriptors, cgroupV2: v2)
      if let shared = spec.joins {
        groups = try shared.openForJoining()
        start.owned += groups
      } else if tree.layout.version != .none {
        let cgroup = try tree.create(slot: spec.slot, limits: spec.limits, quiet: spec.quiet)
        start.cgroup = cgroup
        groups = try cgroup.openForJoining()
        start.owned += groups
      }
      var root: CInt = -1
      if case .root(let path) = spec.origin {
        root = try openTree(path, named: "root")
        start.owned.append(root)
      }
      if case .mounted(let descriptor, _) = spec.origin { root = descriptor }
      var pair: [CInt] = [-1, -1]
      guard apus_packet_pair(&pair) == 0 else { throw .host(doing: "making a pod's socket", errno: errno) }
      start.socket = pair[0]
      start.owned.append(pair[1])
      start.descriptors = SpawnerMessage.descriptors(spec, cgroups: groups, bind: pair[1], root: root)
      return start
    } catch {
      start.closeDescriptors()
      if start.socket >= 0 { close(start.socket) }
      _ = start.cgroup?.destroy()
      throw error
    }
  }

  /// A detached mount of a folder.
  static func openTree(_ path: String, named name: String) throws(SandboxError) -> CInt {
    let fd = apus_open_tree(path)
    guard fd >= 0 else { throw .host(doing: "opening the \(name) folder \(path)", errno: errno) }
    return fd
  }
}

/// What binding a stem sends. Some 50 µs of short system calls.
struct PreparedBind {
  var message: [UInt8]
  var descriptors: [CInt] = []

  init(_ spec: BindSpec, ticket: UInt64, slot: Int, isWarm: Bool, limitProcesses: Bool) throws(SandboxError) {
    message = try SpawnerMessage.bind(spec, ticket: ticket, slot: slot, isWarm: isWarm, limitProcesses: limitProcesses)
    do throws(SandboxError) {
      if let path = spec.codePath { descriptors.append(try PreparedStem.openTree(path, named: "code")) }
      if !spec.secrets.isEmpty {
        let bytes = spec.secrets.flatMap(\.bytes)
        let fd = apus_memory_file(bytes, bytes.count)
        guard fd >= 0 else { throw .host(doing: "making the memory file of the secrets", errno: errno) }
        descriptors.append(fd)
      }
    } catch {
      closeDescriptors()
      throw error
    }
  }

  /// Sends it; false when the stem is gone.
  func send(over socket: CInt) -> Bool {
    apus_send(socket, message, message.count, descriptors, descriptors.count) >= 0
  }

  func closeDescriptors() {
    for fd in descriptors { close(fd) }
  }
}
