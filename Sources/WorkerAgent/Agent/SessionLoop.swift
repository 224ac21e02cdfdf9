import ClusterAPI
import ClusterModel
import Logging
import Synchronization

/// Keeps a session with the server: hello, commands in, reports out; dials again when it is lost. Pods live on without.
final class SessionLoop: Sendable {
  /// How long opening a session may take, milliseconds.
  static let openMaximum: Int64 = 10_000
  /// A session that lasted this long clears the back-off: one that is ended at once each time is not dialled in a rush.
  static let goodSession = Duration.seconds(1)

  private struct State {
    var connected = false
    var leaving = false
    var left = false
    var epoch: UInt64 = 0
  }

  private let sessions: any NodeSessions
  private let outbox: Outbox
  private let hello: @Sendable () async -> WorkerHello
  private let perform: @Sendable (NodeCommand.Action) async -> Void
  private let logger: Logger
  private let state = Mutex(State())

  /// A loop that says `hello` on each session and hands commands to `perform`, one after the other.
  init(
    sessions: any NodeSessions, outbox: Outbox, logger: Logger, hello: @escaping @Sendable () async -> WorkerHello,
    perform: @escaping @Sendable (NodeCommand.Action) async -> Void
  ) {
    self.sessions = sessions
    self.outbox = outbox
    self.hello = hello
    self.perform = perform
    self.logger = logger
  }

  /// Whether a session is open.
  var isConnected: Bool { state.withLock { $0.connected } }

  /// Says goodbye on the session there is; `run` ends after that.
  func leave() {
    let connected = state.withLock { state in
      state.leaving = true
      return state.connected
    }
    if connected { outbox.sayGoodbye() }
  }

  /// Keeps a session until `leave` or cancellation.
  func run() async {
    var backoff = Backoff()
    while !Task.isCancelled, !state.withLock({ $0.leaving }) {
      if await session() { backoff.succeeded() }
      if state.withLock({ $0.left }) { return }
      let wait = backoff.failed()
      do { try await NamedWait.reconnect(milliseconds: wait).wait() } catch { return }
    }
  }

  /// One session from hello to end; whether it lasted.
  private func session() async -> Bool {
    let greeting = await hello()
    let signal = outbox.open()
    let sessions = sessions
    let handle: NodeSessionHandle
    do {
      handle = try await within(milliseconds: Self.openMaximum) { try await sessions.open(greeting) }
    } catch {
      outbox.close()
      logger.debug("no session with the server", metadata: ["error": "\(error)"])
      return false
    }
    state.withLock { state in
      state.connected = true
      // Also a lower one: a server that was put back to an earlier state counts from there.
      state.epoch = handle.epoch
      if state.leaving { outbox.sayGoodbye() }
    }
    let opened = ContinuousClock.now
    logger.info("session opened", metadata: ["session.epoch": "\(handle.epoch)"])
    await withTaskGroup { group in
      group.addTask { await self.send(handle, signal) }
      group.addTask { await self.receive(handle) }
      await group.next()
      group.cancelAll()
    }
    outbox.close()
    let clean = state.withLock { state in
      state.connected = false
      return state.left
    }
    await handle.closed(clean)
    logger.info("session ended", metadata: ["session.epoch": "\(handle.epoch)", "clean": "\(clean)"])
    return ContinuousClock.now - opened >= Self.goodSession
  }

  private func send(_ handle: NodeSessionHandle, _ signal: AsyncStream<Void>) async {
    for await _ in signal {
      for message in outbox.take() {
        await handle.receive(message)
        if message == .goodbye {
          state.withLock { $0.left = true }
          return
        }
        if Task.isCancelled { return }
      }
    }
  }

  private func receive(_ handle: NodeSessionHandle) async {
    var kept = false
    for await command in handle.commands {
      guard command.epoch == state.withLock({ $0.epoch }) else { continue }
      if case .keep = command.action { kept = true }
      if !kept, command.action != .ping {
        logger.error("the server's first command was not keep", metadata: ["command.id": "\(command.id)"])
        return
      }
      await perform(command.action)
    }
  }
}
