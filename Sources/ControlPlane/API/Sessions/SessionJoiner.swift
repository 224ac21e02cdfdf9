internal import ClusterAPI
internal import Synchronization

/// Brings the two streams of a worker's session together, whichever comes first.
final class SessionJoiner: Sendable {
  /// How long one stream waits for the other.
  static let patience = Duration.seconds(5)
  /// Sessions that may wait for their second stream.
  static let waitingMax = 4096

  /// The stream of commands, waiting to hear how the session opened.
  final class CommandSide: Sendable {
    /// How the session opened.
    let opened = OneShot<Result<Opened, APIStatus>>()
  }

  /// An open session, and how each stream tells the other that it is over.
  struct Opened: Sendable {
    let handle: NodeSessionHandle
    let commandsEnded: OneShot<Void>
    let reportsEnded: OneShot<Void>
  }

  private let waiting = Mutex<[String: OneShot<CommandSide>]>([:])

  /// The commands' side: says that it is there and waits until the session is open.
  func commands(_ session: String) async throws(APIStatus) -> Opened {
    let side = CommandSide()
    try meeting(session).give(side)
    let result = await side.opened.value(within: Self.patience)
    forget(session)
    guard let result else {
      throw APIStatus(code: 408, reason: "Timeout", message: "the session's stream of reports did not come")
    }
    return try result.get()
  }

  /// The reports' side: waits for the commands' side, which it then must tell how the session opened.
  func reports(_ session: String) async throws(APIStatus) -> CommandSide {
    let side = try await meeting(session).value(within: Self.patience)
    forget(session)
    guard let side else {
      throw APIStatus(code: 408, reason: "Timeout", message: "the session's stream of commands did not come")
    }
    return side
  }

  private func meeting(_ session: String) throws(APIStatus) -> OneShot<CommandSide> {
    let found: OneShot<CommandSide>? = waiting.withLock { waiting in
      if let present = waiting[session] { return present }
      guard waiting.count < Self.waitingMax else { return nil }
      let new = OneShot<CommandSide>()
      waiting[session] = new
      return new
    }
    guard let found else { throw .unavailable("too many sessions are opening; try again") }
    return found
  }

  private func forget(_ session: String) { waiting.withLock { _ = $0.removeValue(forKey: session) } }
}
