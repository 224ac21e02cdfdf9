import PodSandbox
import Synchronization

/// Who waits for the end of which pod. An end may come before its start has returned, and so may the spawner's.
final class PodEnds: Sendable {
  private struct Key: Hashable {
    var spawner: ObjectIdentifier
    var ticket: UInt64
  }

  private struct State {
    /// Spawners whose pods' ends are still told.
    var live: Set<ObjectIdentifier> = []
    var waiting: [Key: AsyncStream<PodExit>.Continuation] = [:]
    /// Ends nobody waited for yet; at most one for each start under way.
    var early: [Key: PodExit] = [:]
  }

  private let state = Mutex(State())

  /// A spawner whose pods' ends will be collected; before its first pod.
  func begin(_ spawner: AnyObject) { state.withLock { _ = $0.live.insert(ObjectIdentifier(spawner)) } }

  /// Hands on the ends of a spawner's pods until it is gone. Then nobody waits for one of its pods any more.
  func collect(_ exits: AsyncStream<SandboxExit>, of spawner: some AnyObject & Sendable) async {
    for await end in exits {
      let cause = end.reason.hasSuffix("spawner died") ? end.reason : nil
      let exit = PodExit(
        code: end.exitCode, signal: end.signal, outOfMemory: end.oomKilled, cause: cause,
        startFailure: end.failure?.description)
      let key = Key(spawner: ObjectIdentifier(spawner), ticket: end.ticket)
      let waiting = state.withLock { state in
        let waiting = state.waiting.removeValue(forKey: key)
        if waiting == nil { state.early[key] = exit }
        return waiting
      }
      waiting?.yield(exit)
      waiting?.finish()
    }
    let gone = ObjectIdentifier(spawner)
    let unseen = state.withLock { state in
      state.live.remove(gone)
      state.early = state.early.filter { $0.key.spawner != gone }
      let unseen = state.waiting.filter { $0.key.spawner == gone }
      for key in unseen.keys { state.waiting[key] = nil }
      return unseen
    }
    for waiting in unseen.values { waiting.finish() }
  }

  /// The end of one pod, for all who ask.
  func follow(_ ticket: UInt64, of spawner: AnyObject) -> Task<PodExit, Never> {
    let (stream, continuation) = AsyncStream<PodExit>.makeStream()
    let key = Key(spawner: ObjectIdentifier(spawner), ticket: ticket)
    state.withLock { state in
      if let early = state.early.removeValue(forKey: key) {
        continuation.yield(early)
        continuation.finish()
      } else if state.live.contains(key.spawner) {
        state.waiting[key] = continuation
      } else {
        // It died while the start that it had answered was on its way here: whoever waited would wait forever.
        continuation.finish()
      }
    }
    // Ends with the pod, or with its spawner.
    return Task {
      for await exit in stream { return exit }
      return PodExit(cause: "its end was not seen: the spawner is gone")
    }
  }
}
