/// When the memory groups of pods that ended are removed. Pure.
///
/// With each that goes, the kernel looks through the caches of all mounted file systems (`memcg_reparent_list_lrus`), of
/// which every pod that there still is has six: removed one by one beside a thousand pods that end, they take half a second
/// of the processor. So they wait for a moment in which no pod ends.
struct CgroupRemovals {
  /// No pod has ended for so long: the moment.
  static let quietNs: UInt64 = 20_000_000
  /// The longest that a group waits while pods go on ending.
  static let patienceNs: UInt64 = 2_000_000_000
  /// Groups that wait at most; one more, and they go at once.
  static let maximum = 2048
  /// So many at a time: who ends meanwhile is heard in between.
  static let turn = 32

  private var waiting: ArraySlice<Cgroup> = []
  private var sinceNs: UInt64 = 0
  private var addedNs: UInt64 = 0
  /// Could not be removed: somebody was still in them. They are tried again behind the next pod that ends.
  private var stuck: [Cgroup] = []

  /// Takes the group of a pod that has just ended; whether it is the first that waits.
  @discardableResult
  mutating func add(_ cgroup: Cgroup, at now: UInt64) -> Bool {
    let isFirst = waiting.isEmpty
    if isFirst { sinceNs = now }
    waiting.append(cgroup)
    waiting += stuck
    stuck = []
    addedNs = now
    return isFirst
  }

  /// Nanoseconds until the next are to be removed, 0 for now; nil while none waits.
  func due(at now: UInt64) -> UInt64? {
    if waiting.isEmpty { return nil }
    if waiting.count > Self.maximum { return 0 }
    let at = min(addedNs &+ Self.quietNs, sinceNs &+ Self.patienceNs)
    return at > now ? at - now : 0
  }

  /// The next to be removed, the oldest first.
  mutating func take() -> [Cgroup] {
    defer { waiting = waiting.dropFirst(Self.turn) }
    return Array(waiting.prefix(Self.turn))
  }

  /// Takes back those that could not be removed.
  mutating func failed(_ cgroups: [Cgroup]) { stuck += cgroups }

  /// All that there are, for the end of the spawner.
  mutating func takeAll() -> [Cgroup] {
    defer { (waiting, stuck) = ([], []) }
    return waiting + stuck
  }
}
