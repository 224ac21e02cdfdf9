import CLinux
import Glibc
import Logging
import ServiceLifecycle

/// The running gateway's side of a hand-over: waits for a newcomer and gives it what it needs.
struct HandOverOffer: Sendable {
  /// Everything a newcomer gets, in this order, each with its address for people.
  let parts: [(role: HandOverMessage.Role, address: String, descriptor: Descriptor)]
  /// Where newcomers ask; one of the parts.
  let control: Descriptor
  let logger: Logger

  /// Waits on a thread of its own until a newcomer is ready, and answers the connection to it: `yours` is said there once
  /// this process accepts nothing any more. Nil when this process is to end.
  func run() async throws -> PacketSocket? {
    let wake = Descriptor(apus_wake_create())
    let poll = Descriptor(apus_poll_create())
    guard wake.number >= 0, poll.number >= 0 else { throw SystemFailure("hand-over", errno) }
    return await withTaskCancellationHandler {
      await withGracefulShutdownHandler {
        await withCheckedContinuation { continuation in
          DetachedThread.run {
            var desk = Desk(offer: self, poll: poll, wake: wake)
            continuation.resume(returning: desk.serve())
          }
        }
      } onGracefulShutdown: {
        apus_wake(wake.number)
      }
    } onCancel: {
      apus_wake(wake.number)
    }
  }

  /// What the thread works with.
  private struct Desk {
    private enum Token { static let wake: UInt64 = 0, control: UInt64 = 1, first: UInt64 = 2 }

    let offer: HandOverOffer
    let poll: Descriptor
    let wake: Descriptor
    var turn = HandOverTurn(user: geteuid())
    var guests: [Int: PacketSocket] = [:]
    /// The newcomer that is ready.
    var heir: PacketSocket?
    var next = Int(Token.first)

    init(offer: HandOverOffer, poll: Descriptor, wake: Descriptor) {
      self.offer = offer
      self.poll = poll
      self.wake = wake
    }

    mutating func serve() -> PacketSocket? {
      apus_poll_add(poll.number, wake.number, Token.wake)
      apus_poll_add(poll.number, offer.control.number, Token.control)
      var tokens = [UInt64](repeating: 0, count: 16)
      while true {
        let left = turn.deadline.map { max(0, min($0 - now, 60_000)) } ?? -1
        var count = apus_poll_wait(poll.number, &tokens, Int32(tokens.count), Int32(left))
        // A signal, also one that stopped this process for a while, ends the wait in front of what came meanwhile.
        if count == 0 { count = apus_poll_wait(poll.number, &tokens, Int32(tokens.count), 0) }
        guard count >= 0 else { return nil }
        for token in tokens.prefix(Int(count)) {
          switch token {
          case Token.wake: return nil
          case Token.control: welcome()
          default: hear(Int(token))
          }
          if turn.over { return heir }
        }
        perform(turn.tick(now: now))
      }
    }

    private mutating func welcome() {
      guard let (socket, user) = PacketSocket.accept(offer.control.number) else { return }
      let id = next
      next += 1
      guests[id] = socket
      apus_poll_add(poll.number, socket.descriptor.number, UInt64(id))
      perform(turn.connected(id, user: user, now: now))
    }

    private mutating func hear(_ id: Int) {
      guard let socket = guests[id] else { return }
      do {
        if let (message, _) = try socket.receive(milliseconds: 0) {
          perform(turn.received(id, .success(message), now: now))
        } else {
          perform(turn.closed(id))
          hangUp(id)
        }
      } catch {
        perform(turn.received(id, .failure(error), now: now))
      }
    }

    private mutating func perform(_ action: HandOverTurn.Action?) {
      switch action {
      case nil: break
      case .offer(let id):
        guard let socket = guests[id] else { return }
        let sent = offer.parts.allSatisfy { part in
          socket.send(.descriptor(part.role, address: part.address), part.descriptor.number)
        }
        guard sent, socket.send(.offered(count: offer.parts.count, process: getpid())) else {
          return perform(turn.closed(id))
        }
        offer.logger.notice("gateway is being taken over")
      case .refuse(let id, let why):
        guests[id]?.send(.refused(why))
        hangUp(id)
        offer.logger.warning("take-over refused, serving on", metadata: ["reason": "\(why)"])
      case .drop(let id, let why):
        hangUp(id)
        offer.logger.warning("take-over broken off, serving on", metadata: ["reason": "\(why)"])
      case .yield(let id): heir = guests[id]
      }
    }

    private mutating func hangUp(_ id: Int) {
      guard let socket = guests.removeValue(forKey: id) else { return }
      apus_poll_remove(poll.number, socket.descriptor.number)
      socket.descriptor.close()
    }

    private var now: Int64 {
      var time = timespec()
      clock_gettime(CLOCK_MONOTONIC, &time)
      return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
  }
}
