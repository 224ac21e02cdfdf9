/// How many stems of each kind should wait. Pure: time and memory are passed in.
///
/// A pool is as large as the largest burst it saw lately: pods of a kind that were started within a second or half of one,
/// which is how long it takes to make them again. Every pod of a burst counts as one, however long the burst took: a pool
/// that is a little too small has the rest made from nothing when the machine has least to spare. A kind keeps one stem for
/// an hour after its last pod.
struct StemPlan: Sendable {
  /// Pods of one burst were started in this time or in the one before, nanoseconds.
  static let window: Int64 = 500_000_000
  /// The largest burst is remembered whole for this time, nanoseconds: a schedule that fires every minute finds its pool.
  static let memorable: Int64 = 90_000_000_000
  /// After that the memory of it halves in this time, nanoseconds.
  static let halfLife: Int64 = 60_000_000_000
  /// A kind that started no pod for this long has no stems, nanoseconds.
  static let keep: Int64 = 3_600_000_000_000
  /// All stems together at most. A worker has 1,500 slots for pods and stems: 1,052 are left for pods.
  static let most = 448
  /// The part of the node's memory for pods that stems may take together: one twentieth.
  static let memoryShare: Int64 = 20
  /// Kinds known at once; the one used longest ago is forgotten.
  static let kindsMaximum = 64
  /// Below this much free memory of the machine, in thousandths, no stem waits.
  static let scarce = 50

  private struct Demand: Sendable {
    /// Pods of this window of time and of the one before, and when this one began.
    private var (count, before, windowBegan) = (0, 0, Int64.min)
    /// The largest burst remembered, and when it was.
    private var (peak, peakAt) = (0, Int64.min)
    /// When the last pod was started, or the kind expected.
    private(set) var used: Int64

    init(used: Int64) { self.used = used }

    /// How large a burst is still remembered.
    func peak(at now: Int64) -> Double {
      guard peak > 0 else { return 0 }
      return halved(Double(peak), every: StemPlan.halfLife, after: now - peakAt - StemPlan.memorable)
    }

    /// One more pod was started.
    mutating func started(at now: Int64) {
      if count == 0 || now - windowBegan >= 2 * StemPlan.window {
        (count, before, windowBegan) = (0, 0, now)
      } else if now - windowBegan >= StemPlan.window {
        (count, before, windowBegan) = (0, count, windowBegan + StemPlan.window)
      }
      count += 1
      if Double(before + count) >= peak(at: now) { (peak, peakAt) = (before + count, now) }
      used = now
    }
  }

  /// Memory for all stems together, bytes.
  let memory: Int64
  private var demands: [StemKind: Demand] = [:]

  /// A plan for a node with this much memory for pods, in bytes.
  init(nodeMemory: Int64) { memory = nodeMemory / Self.memoryShare }

  /// A pod of a kind was started, from a stem or not.
  mutating func used(_ kind: StemKind, at now: Int64) {
    var demand = demands[kind] ?? Demand(used: now)
    demand.started(at: now)
    demands[kind] = demand
    guard demands.count > Self.kindsMaximum, let oldest = demands.min(by: { $0.value.used < $1.value.used }) else {
      return
    }
    demands[oldest.key] = nil
  }

  /// A kind whose first pod is expected, without one yet: one stem of it waits.
  mutating func expect(_ kind: StemKind, at now: Int64) {
    if demands[kind] == nil { demands[kind] = Demand(used: now) }
  }

  /// How many stems of each kind should wait, the most wanted kinds first in line for the memory. `freeThousandths` is
  /// what the machine has free of its memory.
  func targets(at now: Int64, freeThousandths: Int) -> [StemKind: Int] {
    guard freeThousandths >= Self.scarce else { return [:] }
    let wanted = demands.filter { now - $0.value.used < Self.keep }
      .sorted { ($0.value.used, $0.key.name) > ($1.value.used, $1.key.name) }
    var targets: [StemKind: Int] = [:]
    var (count, bytes) = (0, Int64(0))
    // One for each kind before a second for any.
    for (kind, _) in wanted where count < Self.most && bytes + kind.cost <= memory {
      targets[kind] = 1
      count += 1
      bytes += kind.cost
    }
    for (kind, demand) in wanted where targets[kind] != nil {
      let more = min(kind.most, Int(demand.peak(at: now).rounded(.up))) - 1
      let room = min(Self.most - count, Int((memory - bytes) / kind.cost))
      let added = max(0, min(more, room))
      targets[kind, default: 0] += added
      count += added
      bytes += Int64(added) * kind.cost
    }
    return targets
  }
}

/// A figure that halves again and again: whole halvings and a straight line between them, within 6 % of the exponential.
private func halved(_ figure: Double, every halfLife: Int64, after nanoseconds: Int64) -> Double {
  var (figure, left) = (figure, max(0, nanoseconds))
  while left >= halfLife {
    guard figure > 0.01 else { return 0 }
    figure /= 2
    left -= halfLife
  }
  return figure * (1 - Double(left) / Double(halfLife) / 2)
}
