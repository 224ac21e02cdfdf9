import Glibc

/// The users of this host that a worker may give to its pods. A slot has users of its own, so that no two pods share one.
package struct HostUsers: Sendable, Equatable {
  /// The host's user who is root here, where root is that of a user namespace; nil for the host's own root.
  package let owner: UInt32?
  /// Slots for which there are users.
  package let slots: Int
  private let usersOfSlot: UInt32

  /// The first user of the first slot: the last of 60,000 slots ends with the last of 32 bits. Who had an id of a pod as a
  /// subordinate one could become its user and read its memory. Those are given out from 100,000 on, 65,536 a user
  /// (login.defs(5)): the 5,535th user of a machine would be the first to have some, and is named by `stranger(in:)`.
  package static let first: UInt32 = 362_800_000
  /// The function's, and that of the process which carries its packets.
  private static let usersOfMappedSlot: UInt32 = 2
  /// Subordinate ids of a user that are used, no more and no fewer: what useradd(8) gives.
  package static let subordinates: UInt32 = 65_536

  /// Reads the kernel's tables of this namespace, /proc/self/uid_map and gid_map: lines of first id inside, first id
  /// outside, how many.
  ///
  /// Under the host's root slot n has the 65,536 users from `first` + n × 65536 on, enough for an image's own. In a user
  /// namespace it has two, from `first` + 2 n on, as far as they are mapped.
  package init(uidMap: String, gidMap: String) {
    let (users, groups) = (Self.ranges(uidMap), Self.ranges(gidMap))
    if users.isEmpty || users.contains(where: { $0.count == .max }) {
      (owner, slots, usersOfSlot) = (nil, SandboxSpec.slotCount, 65_536)
      return
    }
    owner = users.first { $0.inside == 0 }?.outside
    let mapped = min(Self.count(users), Self.count(groups))
    usersOfSlot = Self.usersOfMappedSlot
    slots = min(SandboxSpec.slotCount, Int(mapped / usersOfSlot))
  }

  /// This process's.
  package static let current = HostUsers(
    uidMap: CgroupFiles.read("/proc/self/uid_map") ?? "", gidMap: CgroupFiles.read("/proc/self/gid_map") ?? "")

  /// The user (and group) that the pod of a slot runs as.
  package func user(ofSlot slot: Int) -> UInt32 {
    Self.first &+ UInt32(truncatingIfNeeded: slot) &* usersOfSlot
  }

  /// The user that carries the packets of a slot's pod: the slot's last, never one of an image's programs.
  package func egressUser(ofSlot slot: Int) -> UInt32 { user(ofSlot: slot) &+ usersOfSlot &- 1 }

  /// Who has ids of pods as subordinate ones by a table of `user:first:count` (/etc/subuid, /etc/subgid); nil when nobody.
  /// Such a user could become a pod's.
  static func stranger(in table: String) -> String? {
    subordinates(in: table).first { range in
      let end = range.first.addingReportingOverflow(range.count)
      return range.count > 0 && (end.overflow || end.partialValue > UInt64(first))
    }?.user
  }

  /// What such a table gives to whom, line by line; the user is a name or a number.
  static func subordinates(in table: String) -> [(user: String, first: UInt64, count: UInt64)] {
    table.split(separator: "\n").compactMap { line in
      let fields = line.split(separator: ":").map(String.init)
      guard fields.count == 3, let first = UInt64(fields[1]), let count = UInt64(fields[2]) else { return nil }
      return (fields[0], first, count)
    }
  }

  private struct Range {
    var inside: UInt32
    var outside: UInt32
    var count: UInt32
  }

  private static func ranges(_ table: String) -> [Range] {
    table.split(separator: "\n").compactMap { line in
      let words = line.split(separator: " ").compactMap { UInt32($0) }
      return words.count == 3 ? Range(inside: words[0], outside: words[1], count: words[2]) : nil
    }
  }

  /// How many ids from `first` on are mapped in one piece.
  private static func count(_ ranges: [Range]) -> UInt32 {
    let around = ranges.first { $0.inside <= first && first - $0.inside < $0.count }
    return around.map { $0.count - (first - $0.inside) } ?? 0
  }
}
