import Glibc
import PodSandbox
import Synchronization

/// A pod made ahead with all that belongs to its slot: its socket, its pipes, its sandbox. Who takes it from the pool
/// owns the descriptors; one that nobody takes is discarded.
final class WaitingStem: Sendable {
  let kind: StemKind
  /// The pod's number on this node; the taker's from then on.
  let slot: Int
  /// The path of its socket, of which there is one at a time and never another.
  let socket: String
  /// The listening socket; -1 once it is the taker's.
  let listener: CInt
  let pipes: StartPipes
  let pod: any WaitingPod

  init(kind: StemKind, slot: Int, socket: String, listener: CInt, pipes: StartPipes, pod: any WaitingPod) {
    self.kind = kind
    self.slot = slot
    self.socket = socket
    self.listener = listener
    self.pipes = pipes
    self.pod = pod
  }

  /// Ends one that nobody took, and closes what belongs to it; its socket's file is the caller's to remove.
  func discard() {
    pod.discard()
    pipes.closeReaders()
    close(listener)
  }
}
