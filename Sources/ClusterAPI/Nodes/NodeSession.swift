/// The server's side of worker sessions.
package protocol NodeSessions: Sendable {
  /// Opens a session after its hello; answers the commands, first of which is `keep`.
  ///
  /// A newer session of the same node ends an older one. The stream ends when the session does.
  func open(_ hello: WorkerHello) async throws(APIStatus) -> NodeSessionHandle
}

/// An open session of one worker.
package struct NodeSessionHandle: Sendable {
  /// The session's epoch.
  package let epoch: UInt64
  /// What the worker is told, in order.
  package let commands: AsyncStream<NodeCommand>
  /// Takes a message of the worker.
  package let receive: @Sendable (WorkerMessage) async -> Void
  /// Says that the connection ended; `clean` after a goodbye.
  package let closed: @Sendable (_ clean: Bool) async -> Void

  /// A handle of its parts.
  package init(
    epoch: UInt64, commands: AsyncStream<NodeCommand>, receive: @escaping @Sendable (WorkerMessage) async -> Void,
    closed: @escaping @Sendable (_ clean: Bool) async -> Void
  ) {
    self.epoch = epoch
    self.commands = commands
    self.receive = receive
    self.closed = closed
  }
}

/// What a pod's secrets hold, for the worker that runs it: secret name → key → value.
package protocol PodSecrets: Sendable {
  /// The secrets of a pod that is placed on `node`; 403 for any other.
  func secrets(ofPod uid: String, node: String) async throws(APIStatus) -> [String: [String: [UInt8]]]
}

/// Which nodes pods were given to.
package protocol PodPlacements: Sendable {
  /// Whether a pod that is made from a package is placed on `node`.
  func isPlaced(_ digest: String, namespace: String, on node: String) async -> Bool
}
