import PodSandbox

/// The zygotes of one worker by namespace: which serve, which are being launched, how often each forked. Pure but for
/// the tasks it holds.
struct Zygotes {
  /// Forks after which a zygote is replaced: its children share its address layout and hash seed, and what leaks in it
  /// leaks into all of them.
  static let forksMaximum = 2000
  /// Namespaces that have one at once; the one that forked longest ago makes room.
  static let most = 16
  /// After a launch that failed, pods start an interpreter each for this long before another is tried; nanoseconds.
  static let failurePause: Int64 = 10_000_000_000

  private struct Entry {
    var serving: Zygote?
    var launching: Task<Zygote?, Never>?
    /// No launch before this time: one failed.
    var pausedUntil = Int64.min
    var forks = 0
    var turn = 0
  }

  private var entries: [String: Entry] = [:]
  private var turn = 0

  /// A zygote that serves, for one fork; nil when there is none, or it forked often enough.
  mutating func ready(_ namespace: String) -> Zygote? {
    guard var entry = entries[namespace], let zygote = entry.serving, zygote.isAlive, entry.forks < Self.forksMaximum
    else { return nil }
    turn += 1
    entry.forks += 1
    entry.turn = turn
    entries[namespace] = entry
    return zygote
  }

  /// The launch under way, or a new one; nil shortly after one that failed. What served and died is replaced at once.
  mutating func launch(
    _ namespace: String, at now: Int64, _ start: () -> Task<Zygote?, Never>
  ) -> Task<Zygote?, Never>? {
    var entry = entries[namespace] ?? Entry()
    if let launching = entry.launching { return launching }
    guard now >= entry.pausedUntil else { return nil }
    let task = start()
    entry.launching = task
    entries[namespace] = entry
    return task
  }

  /// A launch succeeded: notes it, and answers those that are to be retired for it.
  mutating func serves(_ zygote: Zygote, _ namespace: String) -> [Zygote] {
    var retired: [Zygote] = []
    if let old = entries[namespace]?.serving { retired.append(old) }
    turn += 1
    entries[namespace] = Entry(serving: zygote, turn: turn)
    while entries.count > Self.most, let oldest = entries.min(by: { $0.value.turn < $1.value.turn }) {
      if let old = oldest.value.serving { retired.append(old) }
      entries[oldest.key] = nil
    }
    return retired
  }

  /// A launch failed, at `time` (uptime, nanoseconds); nil if it is not the zygote's fault and may be tried at once.
  mutating func failed(_ namespace: String, at time: Int64?) {
    entries[namespace]?.launching = nil
    if let time { entries[namespace]?.pausedUntil = time + Self.failurePause }
  }
}
