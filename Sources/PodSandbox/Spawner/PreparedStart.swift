import CLinux
import Glibc

/// What one start sends: the message, and descriptors of the pod's groups, root, code and secrets.
struct PreparedStart: Sendable {
  var message: [UInt8]
  /// All descriptors in the protocol's order, the caller's among them.
  var descriptors: [CInt]
  /// Those we opened and must close when the answer came.
  var owned: [CInt]
  var cgroup: Cgroup?

  func closeDescriptors() {
    for fd in owned { close(fd) }
  }

  /// Makes the groups and opens everything; on failure nothing is left. Some 0.2 ms of short system calls, off the
  /// caller's actor.
  @concurrent
  static func prepare(_ spec: SandboxSpec, ticket: UInt64, tree: CgroupTree) async throws(SandboxError)
    -> PreparedStart
  {
    let v2 = tree.layout.version == .v2
    var start = PreparedStart(message: [], descriptors: [], owned: [], cgroup: nil)
    do throws(SandboxError) {
      var groups: [CInt] = []
      // The message first: it refuses a bad spec before anything exists.
      start.message = try SpawnerMessage.spawn(
        spec, ticket: ticket, cgroups: tree.expectedDescriptors, cgroupV2: v2,
        limitProcesses: tree.layout.own[.pids] == nil)
      if tree.layout.version != .none {
        let cgroup = try tree.create(slot: spec.slot, limits: spec.limits)
        start.cgroup = cgroup
        groups = try cgroup.openForJoining()
        start.owned += groups
      }
      let root = spec.rootDescriptor >= 0 ? spec.rootDescriptor : try openTree(spec.rootPath, named: "root", &start)
      var code: CInt = -1
      if let path = spec.codePath { code = try openTree(path, named: "code", &start) }
      var secrets: CInt = -1
      if !spec.secrets.isEmpty {
        let bytes = spec.secrets.flatMap(\.bytes)
        secrets = apus_memory_file(bytes, bytes.count)
        guard secrets >= 0 else { throw .host(doing: "making the memory file of the secrets", errno: errno) }
        start.owned.append(secrets)
      }
      start.descriptors = SpawnerMessage.descriptors(spec, cgroups: groups, root: root, code: code, secrets: secrets)
      return start
    } catch {
      start.closeDescriptors()
      _ = start.cgroup?.destroy()
      throw error
    }
  }

  private static func openTree(_ path: String, named name: String, _ start: inout PreparedStart) throws(SandboxError)
    -> CInt
  {
    let fd = apus_open_tree(path)
    guard fd >= 0 else { throw .host(doing: "opening the \(name) folder \(path)", errno: errno) }
    start.owned.append(fd)
    return fd
  }
}
