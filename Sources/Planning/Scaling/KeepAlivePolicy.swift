/// Which idle pods of a function are given up, and when to look again. Pure: `now` is a parameter.
package struct KeepAlivePolicy: Hashable, Sendable {
  /// The policy: a pod is kept `idleAfter` after its last call ended, and `minPods` are kept for ever.
  package init() {}

  /// A ready pod without a call in it.
  package struct IdlePod: Hashable, Sendable {
    /// The pod's uid.
    package var uid: String
    /// When its last call ended, or it became ready; nanoseconds on a monotonic clock.
    package var since: Int64

    /// An idle pod.
    package init(uid: String, since: Int64) {
      self.uid = uid
      self.since = since
    }
  }

  /// What to do now, and when to ask again.
  package struct Decision: Hashable, Sendable {
    /// Uids of the pods to give up, longest idle first.
    package var release: [String]
    /// When the next pod is due, nanoseconds on the same clock; nil when none is.
    package var next: Int64?

    /// A decision.
    package init(release: [String], next: Int64?) {
      self.release = release
      self.next = next
    }
  }

  /// Decides over the idle pods of one function, `ready` of which (busy ones included) take requests.
  package func decide(
    idle: [IdlePod], ready: Int, minPods: Int, idleAfter: Duration, now: Int64
  ) -> Decision {
    let keep =
      Int64(clamping: idleAfter.components.seconds) &* 1_000_000_000
      &+ idleAfter.components.attoseconds / 1_000_000_000
    var surplus = ready - max(0, minPods)
    var decision = Decision(release: [], next: nil)
    for pod in idle.sorted(by: { ($0.since, $0.uid) < ($1.since, $1.uid) }) where surplus > 0 {
      let due = pod.since.addingReportingOverflow(keep)
      guard !due.overflow else { break }
      if due.partialValue > now {
        decision.next = due.partialValue
        break
      }
      decision.release.append(pod.uid)
      surplus -= 1
    }
    return decision
  }
}
