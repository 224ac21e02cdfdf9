/// Who may take a gateway's sockets, and what happens next: the owner's decisions, pure.
///
/// One newcomer has its turn at a time. Connections are numbered by whoever accepts them; times are milliseconds.
struct HandOverTurn {
  /// What the owner does.
  enum Action: Equatable {
    /// Send the descriptors, and how many they were.
    case offer(Int)
    /// Say why not and hang up.
    case refuse(Int, String)
    /// Hang up; the reason is for the log.
    case drop(Int, String)
    /// Accept no more, say that the sockets are theirs, and leave.
    case yield(Int)
  }

  private enum Stage { case greeting, starting }

  private struct Guest {
    let id: Int
    let since: Int64
    var stage: Stage
    var process: Int32 = 0
  }

  /// How long a newcomer may take to say who it is.
  static let greetingMilliseconds: Int64 = 5000
  /// How long it may take to start, from then on.
  static let startMilliseconds: Int64 = 60_000

  private let user: UInt32
  private var guest: Guest?
  /// Whether the sockets are somebody else's.
  private(set) var over = false

  /// Nobody has asked yet; only processes of this user, or of root, may.
  init(user: UInt32) { self.user = user }

  /// When the guest's time is over; nil while there is none.
  var deadline: Int64? {
    guest.map { $0.since &+ ($0.stage == .greeting ? Self.greetingMilliseconds : Self.startMilliseconds) }
  }

  /// A process of a user connected.
  mutating func connected(_ id: Int, user: UInt32?, now: Int64) -> Action? {
    guard let user, user == self.user || user == 0 else {
      return .refuse(id, "only the user that runs the gateway, or root, may take it over")
    }
    if over { return .refuse(id, "the gateway was just taken over; try again") }
    if let guest {
      let who = guest.process > 0 ? " (process \(guest.process))" : ""
      let seconds = max(0, now &- guest.since) / 1000
      return .refuse(id, "another process\(who) has been taking the gateway over for \(seconds) s; wait, or stop it")
    }
    guest = Guest(id: id, since: now, stage: .greeting)
    return nil
  }

  /// A connection said something, or something that was no message.
  mutating func received(_ id: Int, _ message: Result<HandOverMessage, HandOverFault>, now: Int64) -> Action? {
    guard let guest, guest.id == id else { return .drop(id, "it had no turn") }
    switch (guest.stage, message) {
    case (.greeting, .success(.hello(let process, _))):
      self.guest = Guest(id: id, since: now, stage: .starting, process: process)
      return .offer(id)
    case (.starting, .success(.ready)):
      self.guest = nil
      over = true
      return .yield(id)
    case (_, .success(.refused(let why))):
      self.guest = nil
      return .drop(id, why)
    case (_, .success):
      self.guest = nil
      return .refuse(id, "that was not the message expected")
    case (_, .failure(let fault)):
      self.guest = nil
      return .refuse(id, fault.description)
    }
  }

  /// A connection ended.
  mutating func closed(_ id: Int) -> Action? {
    guard let guest, guest.id == id else { return nil }
    self.guest = nil
    return .drop(id, "it ended before it was ready")
  }

  /// Time passed.
  mutating func tick(now: Int64) -> Action? {
    guard let guest, let deadline, deadline <= now else { return nil }
    self.guest = nil
    return .refuse(guest.id, "it was not ready within \((deadline - guest.since) / 1000) s")
  }
}
