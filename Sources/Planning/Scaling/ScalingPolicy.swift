/// How many pods a function should have, from what its own queue shows. Pure: no clock, no I/O.
///
/// The law is event-driven: it is asked whenever a request had to wait, never on a tick. With `q` requests waiting,
/// `free` free slots and concurrency `C` it wants `ready + max(starting, ceil((q − free) / C))` pods, at most `max`.
package struct ScalingPolicy: Hashable, Sendable {
  /// Whether a start is skipped while the busy pods are expected to work the queue off sooner than a pod starts
  /// (`q·d / (r·C) < t`). Off, every request that waits may start a pod.
  package var waitWhenFaster: Bool

  /// A policy; the default starts at once.
  package init(waitWhenFaster: Bool = false) { self.waitWhenFaster = waitWhenFaster }

  /// What is known of a function at the moment of the question.
  package struct Load: Hashable, Sendable {
    /// Requests waiting.
    package var queued: Int
    /// Pods of the serving revision that take requests, busy ones too.
    package var ready: Int
    /// Pods asked for and not ready.
    package var starting: Int
    /// Slots free in ready pods.
    package var freeSlots: Int
    /// Requests one pod runs at once, at least 1.
    package var concurrency: Int
    /// Pods at most.
    package var maxPods: Int
    /// How long the oldest request has waited, milliseconds.
    package var oldestWait: Double
    /// Smoothed time a call takes, milliseconds; nil before the first.
    package var serviceTime: Double?
    /// Smoothed time a pod takes to start, milliseconds; nil before the first.
    package var startTime: Double?

    /// A load of all parts.
    package init(
      queued: Int, ready: Int, starting: Int, freeSlots: Int, concurrency: Int, maxPods: Int, oldestWait: Double = 0,
      serviceTime: Double? = nil, startTime: Double? = nil
    ) {
      self.queued = queued
      self.ready = ready
      self.starting = starting
      self.freeSlots = freeSlots
      self.concurrency = concurrency
      self.maxPods = maxPods
      self.oldestWait = oldestWait
      self.serviceTime = serviceTime
      self.startTime = startTime
    }
  }

  /// What the policy wants.
  package struct Decision: Hashable, Sendable {
    /// Pods in all, ready and starting together.
    package var pods: Int
    /// Milliseconds after which to ask again although nothing happened; set when a start was put off.
    package var askAgainAfter: Double?
    let kind: Kind
    let load: Load

    enum Kind: Hashable { case keep, limited, wait, want }

    /// Why, in words for `describe`; made when it is asked for, because a decision is made for every call that waits.
    package var reason: String {
      let figures =
        "\(load.queued) queued, \(load.freeSlots) free slots, \(load.ready) ready, \(load.starting) starting"
      return switch kind {
      case .keep: "keep \(pods) pods: \(figures)"
      case .limited: "keep \(pods) pods: \(figures), max \(load.maxPods) reached"
      case .wait: "wait: \(figures), a slot is expected sooner than a pod starts"
      case .want: "want \(pods) pods: \(figures)"
      }
    }
  }

  /// How many pods a load should have.
  package func decide(_ load: Load) -> Decision {
    let concurrency = max(1, load.concurrency)
    let known = load.ready + load.starting
    let unserved = max(0, load.queued - load.freeSlots)
    let needed = (unserved + concurrency - 1) / concurrency
    let wanted = load.ready + max(load.starting, needed)
    let bounded = min(wanted, max(load.maxPods, known))
    guard bounded > known else { return Decision(pods: known, kind: wanted > bounded ? .limited : .keep, load: load) }
    if waitWhenFaster, let wait = expectedWait(load, concurrency), let start = load.startTime, wait < start,
      load.oldestWait < start
    {
      return Decision(pods: known, askAgainAfter: max(0.1, start - load.oldestWait), kind: .wait, load: load)
    }
    return Decision(pods: bounded, kind: .want, load: load)
  }

  /// Milliseconds until the queue is worked off by the ready pods alone; nil when that cannot be said.
  private func expectedWait(_ load: Load, _ concurrency: Int) -> Double? {
    guard load.ready > 0, let service = load.serviceTime else { return nil }
    return Double(load.queued) * service / Double(load.ready * concurrency)
  }
}
