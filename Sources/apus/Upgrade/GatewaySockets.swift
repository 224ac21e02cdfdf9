import Synchronization

/// The sockets a gateway serves on, and what goes with them to its successor.
final class GatewaySockets: Sendable {
  private let lock: Descriptor
  /// Where the next newcomer asks.
  let control: Descriptor
  /// The sockets of calls.
  let entrances: [ListeningSocket]
  /// The socket of figures and probes.
  let admin: ListeningSocket
  private let owner: Mutex<Bool>

  /// Sockets that this process opened, or got and does not own before the one before has left.
  init(
    isOwner: Bool, lock: Descriptor, control: Descriptor, entrances: [ListeningSocket], admin: ListeningSocket
  ) {
    owner = Mutex(isOwner)
    self.lock = lock
    self.control = control
    self.entrances = entrances
    self.admin = admin
  }

  /// Whether no other process goes on with them: then the name in the file system is this process's to remove.
  var isOwner: Bool { owner.withLock { $0 } }

  /// What a successor gets.
  var parts: [(role: HandOverMessage.Role, address: String, descriptor: Descriptor)] {
    [(.lock, "", lock), (.control, "", control), (.admin, "\(admin.address)", admin.descriptor)]
      + entrances.map { (.entrance, "\($0.address)", $0.descriptor) }
  }

  /// The process before has left.
  func own() { owner.withLock { $0 = true } }

  /// They are a successor's now.
  func letGo() {
    owner.withLock { $0 = false }
    for part in parts { part.descriptor.close() }
  }
}
