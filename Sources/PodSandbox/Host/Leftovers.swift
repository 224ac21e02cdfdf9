import CLinux
import Glibc

/// What a crashed worker leaves on the host: control groups, sockets, and, if anyone mounted there, mounts.
package struct Leftovers: Sendable, Equatable {
  /// Groups removed.
  package var cgroups: Int
  /// Socket files removed.
  package var sockets: Int
  /// Mounts detached.
  package var mounts: Int

  /// Nothing was found.
  package var isEmpty: Bool { cgroups == 0 && sockets == 0 && mounts == 0 }

  /// Kills and removes what is left of `instance`: its groups wherever they are, the `*.s` sockets in `runDirectory`
  /// (/run/apus/<instance>) and mounts below it. Pods themselves died with their spawner. Only while no worker of this
  /// instance runs. Blocks, usually for milliseconds.
  @discardableResult
  package static func sweep(instance: String, runDirectory: String) -> Leftovers {
    var found = Leftovers(cgroups: CgroupTree.removeLeftovers(instance: instance), sockets: 0, mounts: 0)
    for mount in mountPoints(below: runDirectory).reversed() where apus_unmount(mount) == 0 { found.mounts += 1 }
    for name in CgroupFiles.names(in: runDirectory) where name.hasSuffix(".s") {
      if unlink("\(runDirectory)/\(name)") == 0 { found.sockets += 1 }
    }
    rmdir(runDirectory)
    return found
  }

  static func mountPoints(below folder: String) -> [String] {
    guard let table = CgroupFiles.read("/proc/self/mountinfo", atMost: 1 << 22) else { return [] }
    return table.split(separator: "\n").compactMap { line in
      let fields = line.split(separator: " ")
      guard fields.count > 4, fields[4].hasPrefix("\(folder)/") else { return nil }
      return String(fields[4])
    }
  }
}
