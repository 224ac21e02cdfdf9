import Glibc
import Synchronization

/// The control groups of one instance's pods: `<own group>/apus/<instance>/<slot>-<number>` in each hierarchy. The number
/// is another for each pod: a slot may have its next pod before the groups of the last one are removed.
package struct CgroupTree: Sendable {
  /// What was found on this host.
  package let layout: CgroupLayout
  /// Eight hexadecimal digits that tell clusters side by side apart; unique for each worker process on a machine.
  package let instance: String
  /// The folder `…/apus/<instance>` by controller.
  let folders: [CgroupLayout.Controller: String]

  /// The tree of an instance. On cgroup v2 this hands the controllers down, and uses the group around `daemonsName` or
  /// the top of the hierarchy when the own group cannot (it holds processes). Nothing is created before the first pod.
  package init(instance: String, layout: CgroupLayout = .current()) {
    self.instance = instance
    self.layout = layout
    var folders: [CgroupLayout.Controller: String] = [:]
    for (controller, own) in layout.own {
      let base = layout.version == .v2 ? Self.candidates(layout, controller).first(where: Self.delegate) : nil
      folders[controller] = "\(base ?? own)/apus/\(instance)"
    }
    self.folders = folders
  }

  /// The group that the processes of an own group are moved to, so that it can have others.
  private static let daemonsName = "apus-daemons"

  /// Groups below which pods could be, the nearest first.
  private static func candidates(_ layout: CgroupLayout, _ controller: CgroupLayout.Controller) -> [String] {
    guard let own = layout.own[controller] else { return [] }
    let around = own.hasSuffix("/\(daemonsName)") ? [String(own.dropLast(daemonsName.count + 1))] : []
    return [own] + around + (layout.mounts[controller].map { [$0] } ?? [])
  }

  /// Makes room for pods where cgroup v2 has none: it hands controllers down only from a group without processes, and in
  /// a container or a scope of systemd all of them are in the one group that was delegated. They are moved to a group
  /// below it, as rootlesskit's --evacuate-cgroup2 does. To be called once, before `CgroupLayout.current()` is used.
  ///
  /// Where the own group has nothing to hand down, as a terminal's may have, nobody is moved.
  package static func makeRoom(_ layout: CgroupLayout = .current()) {
    makeRoom(layout, available: available)
  }

  static func makeRoom(_ layout: CgroupLayout, available: (String) -> [String]) {
    guard layout.version == .v2, let own = layout.own[.memory],
      !candidates(layout, .memory).contains(where: delegate), !available(own).isEmpty
    else { return }
    let daemons = "\(own)/\(daemonsName)"
    guard mkdir(daemons, 0o755) == 0 || errno == EEXIST else { return }
    // Processes that begin meanwhile are children of those moved before them, or are found in the next round.
    for _ in 0..<makeAttempts {
      let processes = CgroupFiles.read("\(own)/cgroup.procs")?.split(separator: "\n") ?? []
      if processes.isEmpty { return }
      for process in processes { try? CgroupFiles.write(String(process), to: "\(daemons)/cgroup.procs") }
    }
  }

  /// How many descriptors a pod's groups are joined through.
  var expectedDescriptors: Int { Cgroup(version: layout.version, folders: folders).distinct.count }

  /// Processes of a pod are counted by its groups.
  var countsProcesses: Bool {
    guard layout.version == .v2 else { return layout.own[.pids] != nil }
    guard let folder = folders[.pids] else { return false }
    let base = folder.split(separator: "/", omittingEmptySubsequences: false).dropLast(2).joined(separator: "/")
    return Self.available(base).contains("pids")
  }

  /// What of memory, pids and cpu a v2 group can hand down; one controller that it has not would refuse them all.
  private static func available(_ folder: String) -> [String] {
    let names = CgroupFiles.read("\(folder)/cgroup.controllers")?.split(whereSeparator: { " \n".contains($0) }) ?? []
    return ["memory", "pids", "cpu"].filter { names.contains(Substring($0)) }
  }

  /// Hands memory, cpu and pids down from a v2 group to its children, as far as it has them.
  private static func delegate(_ folder: String) -> Bool {
    let names = available(folder)
    guard !names.isEmpty else { return false }
    do {
      try CgroupFiles.write(names.map { "+\($0)" }.joined(separator: " "), to: "\(folder)/cgroup.subtree_control")
      return true
    } catch {
      return false
    }
  }

  /// Makes a pod's groups with its limits; a group left by a crash is emptied and made anew. A quiet one gets the
  /// processor when nobody else wants it, until its limits are changed.
  package func create(slot: Int, limits: SandboxLimits, quiet: Bool = false) throws(SandboxError) -> Cgroup {
    let name = "\(slot)-\(Self.made.wrappingAdd(1, ordering: .relaxed).newValue)"
    let cgroup = Cgroup(version: layout.version, folders: folders.mapValues { "\($0)/\(name)" })
    do throws(SandboxError) {
      for folder in cgroup.distinct { try Self.make(folder, handDown: layout.version == .v2) }
      try change(cgroup, to: limits, from: nil, quiet: quiet)
    } catch {
      _ = cgroup.destroy()
      throw error
    }
    return cgroup
  }

  /// What a group was given before.
  struct Former {
    var limits: SandboxLimits
    var quiet: Bool
  }

  /// Writes a pod's limits, those alone that differ from what its groups were given before.
  func change(
    _ cgroup: Cgroup, to limits: SandboxLimits, from before: Former?, quiet: Bool = false
  ) throws(SandboxError) {
    do throws(CgroupFiles.Failure) {
      let sameShare = before.map { $0.quiet == quiet && $0.limits.cpuMillis == limits.cpuMillis } ?? false
      if layout.version == .v2 {
        try setV2(limits, cgroup, before?.limits, shareAsQuiet: sameShare ? nil : quiet)
      } else {
        try setV1(limits, cgroup, before?.limits, shareAsQuiet: sameShare ? nil : quiet)
      }
    } catch {
      throw .host(doing: "writing \(error.path)", errno: error.errno)
    }
  }

  /// Pods' groups that this process made.
  private static let made = Atomic(0)

  private static let makeAttempts = 4

  private static func make(_ folder: String, handDown: Bool) throws(SandboxError) {
    // Another instance may remove the common parent between two steps; each attempt starts from the top.
    for _ in 0..<makeAttempts {
      if mkdir(folder, 0o755) == 0 { return }
      let code = errno
      if code == EEXIST {
        Cgroup.killAll(in: folder)
        if rmdir(folder) == 0 || errno == ENOENT { continue }
        throw .host(doing: "removing the left-over group \(folder)", errno: errno)
      }
      guard code == ENOENT else { throw .host(doing: "creating the group \(folder)", errno: code) }
      let instance = String(folder.prefix(upTo: folder.lastIndex(of: "/") ?? folder.startIndex))
      let apus = String(instance.prefix(upTo: instance.lastIndex(of: "/") ?? instance.startIndex))
      for parent in [apus, instance] {
        guard mkdir(parent, 0o755) == 0 || errno == EEXIST || errno == ENOENT else {
          throw .host(doing: "creating the group \(parent)", errno: errno)
        }
        if handDown { _ = delegate(parent) }
      }
    }
    throw .host(doing: "creating the group \(folder)", errno: ENOENT)
  }

  static let cpuPeriodMicroseconds = 100_000

  private static func quota(_ limits: SandboxLimits) -> Int {
    // The kernel takes no quota below one millisecond.
    max(1000, Int(limits.cpuMillis) * cpuPeriodMicroseconds / 1000)
  }

  /// The least share of the processor that v1 knows; v2 has 1 …< 10,000 with 100 as the usual.
  private static let quietShares = 2

  private func setV1(
    _ limits: SandboxLimits, _ cgroup: Cgroup, _ before: SandboxLimits?, shareAsQuiet: Bool?
  ) throws(CgroupFiles.Failure) {
    if let memory = cgroup.folders[.memory], before?.memoryBytes != limits.memoryBytes {
      try setMemoryV1(limits.memoryBytes, memory, before?.memoryBytes)
    }
    if let cpu = cgroup.folders[.cpu] {
      if let quiet = shareAsQuiet {
        let shares = quiet ? Self.quietShares : max(Self.quietShares, Int(limits.cpuMillis) * 1024 / 1000)
        try CgroupFiles.write("\(shares)", to: "\(cpu)/cpu.shares")
      }
      if before?.cpuMillis != limits.cpuMillis, CgroupFiles.exists("\(cpu)/cpu.cfs_quota_us") {
        try CgroupFiles.write("\(Self.cpuPeriodMicroseconds)", to: "\(cpu)/cpu.cfs_period_us")
        try CgroupFiles.write("\(Self.quota(limits))", to: "\(cpu)/cpu.cfs_quota_us")
      }
    }
    if let pids = cgroup.folders[.pids], before?.pids != limits.pids {
      // One more: the pod's own first process is the platform's, not the user's.
      try CgroupFiles.write("\(limits.pids + 1)", to: "\(pids)/pids.max")
    }
  }

  /// Memory and swap together: the same limit means no swap; absent where the kernel does not count swap. The sum may
  /// never be below its part, so the order depends on the direction.
  private func setMemoryV1(_ bytes: UInt64, _ folder: String, _ before: UInt64?) throws(CgroupFiles.Failure) {
    let own = "\(folder)/memory.limit_in_bytes"
    let withSwap = "\(folder)/memory.memsw.limit_in_bytes"
    let counted = CgroupFiles.exists(withSwap)
    let grows = before.map { $0 < bytes } ?? false
    if counted, grows { try CgroupFiles.write("\(bytes)", to: withSwap) }
    try CgroupFiles.write("\(bytes)", to: own)
    if counted, !grows { try CgroupFiles.write("\(bytes)", to: withSwap) }
  }

  private func setV2(
    _ limits: SandboxLimits, _ cgroup: Cgroup, _ before: SandboxLimits?, shareAsQuiet: Bool?
  ) throws(CgroupFiles.Failure) {
    guard let folder = cgroup.distinct.first else { return }
    // Files of controllers that were not handed down are absent; `HostCapabilities` says so.
    if before?.memoryBytes != limits.memoryBytes, CgroupFiles.exists("\(folder)/memory.max") {
      try CgroupFiles.write("\(limits.memoryBytes)", to: "\(folder)/memory.max")
    }
    if before == nil, CgroupFiles.exists("\(folder)/memory.swap.max") {
      try CgroupFiles.write("0", to: "\(folder)/memory.swap.max")
    }
    if let quiet = shareAsQuiet, CgroupFiles.exists("\(folder)/cpu.weight") {
      let weight = quiet ? 1 : min(10_000, max(1, Int(limits.cpuMillis) / 10))
      try CgroupFiles.write("\(weight)", to: "\(folder)/cpu.weight")
    }
    if before?.cpuMillis != limits.cpuMillis, CgroupFiles.exists("\(folder)/cpu.max") {
      try CgroupFiles.write("\(Self.quota(limits)) \(Self.cpuPeriodMicroseconds)", to: "\(folder)/cpu.max")
    }
    if before?.pids != limits.pids, CgroupFiles.exists("\(folder)/pids.max") {
      try CgroupFiles.write("\(limits.pids + 1)", to: "\(folder)/pids.max")
    }
  }

  /// Removes the instance's folders when no pod is left in them; with what is empty in them, if nobody makes pods of this
  /// instance any more: a pod's group is empty too until its process joins it.
  package func removeIfEmpty(withGroups: Bool) {
    for folder in Set(folders.values) {
      if withGroups { for slot in CgroupFiles.folders(in: folder) { rmdir("\(folder)/\(slot)") } }
      rmdir(folder)
      if let slash = folder.lastIndex(of: "/") { rmdir(String(folder[..<slash])) }
    }
  }

  private static let searchDepth = 8
  private static let searchFolders = 50_000

  /// Kills and removes what a crashed worker of this instance left, wherever in the hierarchies it ran; returns how
  /// many groups were removed. Blocks for as long as killed processes take to go, at most seconds.
  @discardableResult
  package static func removeLeftovers(instance: String, layout: CgroupLayout = .current()) -> Int {
    var removed = 0
    for mount in Set(layout.mounts.values) {
      for folder in find(instance: instance, below: mount) {
        for slot in CgroupFiles.folders(in: folder) {
          Cgroup.killAll(in: "\(folder)/\(slot)")
          if rmdir("\(folder)/\(slot)") == 0 { removed += 1 }
        }
        rmdir(folder)
        if let slash = folder.lastIndex(of: "/") { rmdir(String(folder[..<slash])) }
      }
    }
    return removed
  }

  /// Every `…/apus/<instance>` below a mount; bounded in depth and number, as the hierarchy is not ours.
  static func find(instance: String, below mount: String) -> [String] {
    var found: [String] = []
    var level = [mount]
    var seen = 0
    for _ in 0..<searchDepth {
      var next: [String] = []
      for folder in level {
        for name in CgroupFiles.folders(in: folder) {
          seen += 1
          if seen > searchFolders { return found }
          if name == "apus" {
            let candidate = "\(folder)/apus/\(instance)"
            if CgroupFiles.isFolder(candidate) { found.append(candidate) }
          } else {
            next.append("\(folder)/\(name)")
          }
        }
      }
      level = next
    }
    return found
  }
}
