import Synchronization

/// How long the chains of calls are that pods are in the middle of, so that functions that call each other in a circle
/// end. Kept for calls that pods made, and for those alone: a call from outside costs nothing here.
///
/// A pod that answers several calls at once is taken to go on with the longest chain.
final class CallDepths: Sendable {
  private struct Pod {
    var calls = 0
    var depth = 0
  }

  private let pods = Mutex<[String: Pod]>([:])

  /// The length of the chain that a call of this pod makes: 1 when nobody called it but from outside.
  func next(after uid: String) -> Int { pods.withLock { ($0[uid]?.depth ?? 0) + 1 } }

  /// A call of such a chain went into a pod.
  func enter(_ uid: String, depth: Int) {
    pods.withLock { pods in
      var pod = pods[uid] ?? Pod()
      pod.calls += 1
      pod.depth = max(pod.depth, depth)
      pods[uid] = pod
    }
  }

  /// It came out again.
  func leave(_ uid: String) {
    pods.withLock { pods in
      guard var pod = pods[uid] else { return }
      pod.calls -= 1
      pods[uid] = pod.calls > 0 ? pod : nil
    }
  }

  /// Pods inside such chains.
  var count: Int { pods.withLock { $0.count } }
}
