import Glibc
import Logging

/// A newcomer's side of a hand-over: what it got from the gateway that runs.
struct TakeOver: Sendable {
  /// The name of the socket in a gateway's folder where newcomers ask.
  static let socketName = "take-over.sock"
  /// How long each message of the running gateway may take, milliseconds.
  static let patience: Int32 = 5000
  /// How long it may take to stop accepting, milliseconds.
  static let leavingPatience: Int32 = 10_000

  /// The lock of the folder, held by this process too from now on.
  let lock: Descriptor
  /// Where the next newcomer will ask.
  let control: Descriptor
  /// The sockets of calls, at least one.
  let entrances: [ListeningSocket]
  /// The socket of figures and probes.
  let admin: ListeningSocket
  /// The process they came from.
  let process: Int32
  private let connection: PacketSocket

  /// Asks the gateway that runs in a folder for its sockets; nil when none listens there.
  static func ask(in home: String, patience: Int32 = patience) async throws -> TakeOver? {
    guard let connection = try PacketSocket.connect(in: home, as: socketName) else { return nil }
    let result: Result<TakeOver, HandOverFault> = await withCheckedContinuation { continuation in
      DetachedThread.run {
        do throws(HandOverFault) {
          continuation.resume(returning: .success(try TakeOver(over: connection, patience)))
        } catch {
          continuation.resume(returning: .failure(error))
        }
      }
    }
    switch result {
    case .success(let taken): return taken
    case .failure(let fault):
      throw Failure(
        "the running gateway was not taken over: \(fault)",
        next: "It serves on. Mend that and start again, or stop it and start without --take-over.")
    }
  }

  /// Asks over a connection, waiting for each answer.
  private init(over connection: PacketSocket, _ patience: Int32) throws(HandOverFault) {
    self.connection = connection
    connection.send(.hello(process: getpid(), program: Version.current))
    var found: [(HandOverMessage.Role, Descriptor)] = []
    var owner: Int32?
    while owner == nil {
      guard let (message, descriptor) = try connection.receive(milliseconds: patience) else {
        throw HandOverFault("it ended the conversation")
      }
      switch message {
      case .descriptor(let role, _):
        guard let descriptor else { throw HandOverFault("a descriptor is missing") }
        guard found.count < HandOverMessage.descriptorsMax else { throw HandOverFault("too many descriptors") }
        found.append((role, descriptor))
      case .offered(let count, let process):
        guard count == found.count else { throw HandOverFault("\(found.count) descriptors came, not \(count)") }
        owner = process
      case .refused(let why): throw HandOverFault(why)
      default: throw HandOverFault("an unexpected message")
      }
    }
    func all(_ role: HandOverMessage.Role) -> [Descriptor] { found.filter { $0.0 == role }.map(\.1) }
    func one(_ role: HandOverMessage.Role) throws(HandOverFault) -> Descriptor {
      guard let only = all(role).first, all(role).count == 1 else {
        throw HandOverFault("\(all(role).count) descriptors of role \(role.rawValue) came, not one")
      }
      return only
    }
    lock = try one(.lock)
    control = try one(.control)
    admin = try ListeningSocket(adopting: try one(.admin))
    var entrances: [ListeningSocket] = []
    for descriptor in all(.entrance) { entrances.append(try ListeningSocket(adopting: descriptor)) }
    guard !entrances.isEmpty else { throw HandOverFault("no socket for calls came") }
    self.entrances = entrances
    process = owner ?? 0
  }

  /// Throws unless the sockets have the addresses this process was told to listen on: a take-over keeps them.
  func check(_ listening: ListenOptions) throws {
    let wrong = entrances.first { !$0.serves(host: listening.listen, port: listening.gatewayPort) }
    if let wrong {
      throw refusal("--listen \(listening.listen) --gateway-port \(listening.gatewayPort)", wrong.address)
    }
    guard admin.serves(host: listening.adminHost, port: listening.adminPort) else {
      throw refusal("--admin-port \(listening.adminPort)", admin.address)
    }
  }

  private func refusal(_ flags: String, _ address: ListeningSocket.Address) -> Failure {
    let why = "the running gateway listens on \(address)"
    connection.send(.refused("the newcomer was started with \(flags)"))
    return Failure(
      "\(why), and this one was started with \(flags)",
      next: "It serves on. A take-over keeps the addresses: use the same flags, or stop the running gateway first.")
  }

  /// Says that this process is ready, and waits until the other one accepts no more connections: those that come in the
  /// meantime wait in the sockets' queues. Throws when it refuses. One that was killed accepts none, and neither does one
  /// that hangs for `leavingPatience`: nobody would serve if this process gave up, so it goes on.
  func complete() async throws {
    let connection = connection
    let refusal: String? = await withCheckedContinuation { continuation in
      DetachedThread.run {
        connection.send(.ready)
        let answer = try? connection.receive(milliseconds: Self.leavingPatience)?.0
        if case .refused(let why)? = answer {
          continuation.resume(returning: why)
        } else {
          continuation.resume(returning: nil)
        }
      }
    }
    connection.descriptor.close()
    if let refusal {
      throw Failure("the running gateway was not taken over: \(refusal)", next: "It serves on.")
    }
  }
}
