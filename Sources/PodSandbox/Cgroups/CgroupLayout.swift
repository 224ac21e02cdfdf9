import Glibc

/// Where this process may make control groups: which version, and its own group in each hierarchy.
package struct CgroupLayout: Sendable, Equatable {
  /// The kernel's two ways to hold groups.
  package enum Version: String, Sendable {
    case none, v1, v2
  }

  /// What a group can hold a pod to.
  package enum Controller: String, Sendable, CaseIterable {
    case memory, cpu, pids
  }

  /// The version that has the controllers.
  package var version: Version
  /// Own group by controller, as absolute folders; with v2 the same for each.
  package var own: [Controller: String]
  /// The mount points, to search leftovers under.
  package var mounts: [Controller: String]

  /// Reads the two kernel tables: `/proc/self/mountinfo` and `/proc/self/cgroup`; `controllers` gives the text of a
  /// v2 group's `cgroup.controllers`.
  package init(mountinfo: String, ownGroups: String, controllers: (String) -> String?) {
    version = .none
    own = [:]
    mounts = [:]
    let groups = Self.groups(ownGroups)
    var unified: (mount: String, own: String)?
    for line in mountinfo.split(separator: "\n") {
      let fields = line.split(separator: " ").map(String.init)
      guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 1 else { continue }
      let root = fields[3]
      let mount = fields[4]
      if fields[dash + 1] == "cgroup2" {
        unified = (mount, Self.join(mount, root: root, group: groups[""] ?? "/"))
      } else if fields[dash + 1] == "cgroup", let options = fields.last?.split(separator: ",") {
        for controller in Controller.allCases where options.contains(Substring(controller.rawValue)) {
          mounts[controller] = mount
          own[controller] = Self.join(mount, root: root, group: groups[controller.rawValue] ?? "/")
        }
      }
    }
    if let unified, let available = controllers(unified.mount)?.split(whereSeparator: { " \n".contains($0) }),
      available.contains("memory"), available.contains("pids")
    {
      version = .v2
      own = [:]
      mounts = [:]
      for controller in Controller.allCases where available.contains(Substring(controller.rawValue)) {
        own[controller] = unified.own
        mounts[controller] = unified.mount
      }
    } else if !own.isEmpty {
      version = .v1
    }
  }

  /// This process's layout: where it is not the host's root, of the groups that were delegated to it.
  package static func current() -> CgroupLayout {
    let all = CgroupLayout(
      mountinfo: CgroupFiles.read("/proc/self/mountinfo", atMost: 1 << 22) ?? "",
      ownGroups: CgroupFiles.read("/proc/self/cgroup") ?? "",
      controllers: { CgroupFiles.read("\($0)/cgroup.controllers") })
    let isHostRoot = geteuid() == 0 && HostUsers.current.owner == nil
    return isHostRoot ? all : all.delegated { access($0, W_OK) == 0 }
  }

  /// The part of it whose own groups may be written to.
  func delegated(_ mayWrite: (String) -> Bool) -> CgroupLayout {
    var part = self
    part.own = own.filter { mayWrite($0.value) }
    if part.own.isEmpty { part.version = .none }
    return part
  }

  /// Group path by controller name; "" is the unified hierarchy.
  private static func groups(_ text: String) -> [String: String] {
    var groups: [String: String] = [:]
    for line in text.split(separator: "\n") {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      if fields[1].isEmpty { groups[""] = String(fields[2]) }
      for controller in fields[1].split(separator: ",") { groups[String(controller)] = String(fields[2]) }
    }
    return groups
  }

  /// A mount shows the part of the hierarchy below its root; the group's path is counted from the top.
  private static func join(_ mount: String, root: String, group: String) -> String {
    var below = Substring(group)
    if root != "/", group.hasPrefix(root) { below = group.dropFirst(root.count) }
    while below.hasPrefix("/") { below = below.dropFirst() }
    return below.isEmpty ? mount : "\(mount)/\(below)"
  }
}
