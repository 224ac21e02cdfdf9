import CLinux
import Glibc
import Synchronization

/// One thread of its own that reads many pipes: at most one buffer of 64 KiB is read and not handed on.
///
/// One buffer a pipe and round, so that a pod that writes without end holds up no other. The handlers run on the thread
/// itself; while they work, pods wait in their pipes: that is the back-pressure. The thread lives until `stop`.
///
/// Our own epoll and not libdispatch's read sources: those follow freed memory when a pipe's last bytes and its end come
/// together, which is how every pod ends (swift-corelibs-libdispatch issue 949; docs/decisions/0012).
final class PipeLoop: Sendable {
  /// Bytes read at once.
  static let bufferBytes = 64 << 10
  /// Pipes read in one round.
  private static let roundPipes: CInt = 64
  /// The token of the wake-up; pipes count from 1.
  private static let wakeToken: UInt64 = 0

  /// What is done with one pipe's bytes and its end; both on the loop's thread (the end on the caller's of `add` when
  /// the pipe could not be added).
  struct Handler: Sendable {
    var bytes: @Sendable (UnsafeRawBufferPointer) -> Void
    var end: @Sendable () -> Void
  }

  private struct Pipe: Sendable {
    let fd: CInt
    let handler: Handler
  }

  private struct State {
    var pipes: [UInt64: Pipe] = [:]
    var lastToken = PipeLoop.wakeToken
    var removing: [UInt64] = []
    var stopped = false
  }

  private let state = Mutex(State())
  private let poll: CInt
  private let wake: CInt
  private let thread = Mutex<DedicatedThread?>(nil)
  private let tell: @Sendable () -> Int32?

  /// A loop without pipes. After bytes were handled, `tell` is asked, and asked again after as many milliseconds as it
  /// answers: it tells what could not be told yet (how many lines were dropped).
  init(name: String, tell: @escaping @Sendable () -> Int32? = { nil }) throws(WorkerError) {
    self.tell = tell
    let poll = apus_poll_create()
    let wake = apus_wake_create()
    guard poll >= 0, wake >= 0, apus_poll_add(poll, wake, Self.wakeToken) == 0 else {
      let error = WorkerError.errno("making the loop that reads pipes")
      for fd in [poll, wake] where fd >= 0 { close(fd) }
      throw error
    }
    self.poll = poll
    self.wake = wake
    thread.withLock { $0 = DedicatedThread(name: name) { self.run() } }
  }

  deinit {
    close(poll)
    close(wake)
  }

  /// Reads a pipe until its end; the descriptor is the loop's from now on. Answers a token for `remove`.
  @discardableResult
  func add(_ fd: CInt, _ handler: Handler) -> UInt64 {
    let token = state.withLock { state -> UInt64? in
      guard !state.stopped, apus_poll_add(poll, fd, state.lastToken + 1) == 0 else { return nil }
      state.lastToken += 1
      state.pipes[state.lastToken] = Pipe(fd: fd, handler: handler)
      return state.lastToken
    }
    if let token { return token }
    close(fd)
    handler.end()
    return Self.wakeToken
  }

  /// Stops reading a pipe and closes it; its handler's end is called. Does nothing when it ended already.
  func remove(_ token: UInt64) {
    state.withLock { $0.removing.append(token) }
    _ = apus_wake(wake)
  }

  /// Closes every pipe and waits until the handlers have heard it; blocks for the round that runs.
  func stop() {
    state.withLock { $0.stopped = true }
    _ = apus_wake(wake)
    thread.withLock { thread in
      thread?.join()
      thread = nil
    }
  }

  private func run() {
    var tokens = [UInt64](repeating: 0, count: Int(Self.roundPipes))
    var toldAgainAt: Int64?
    withUnsafeTemporaryAllocation(byteCount: Self.bufferBytes, alignment: 16) { buffer in
      while !state.withLock({ $0.stopped }) {
        let count = apus_poll_wait(poll, &tokens, Self.roundPipes, Self.milliseconds(until: toldAgainAt))
        var handled = false
        for token in tokens.prefix(Int(max(0, count))) {
          if token == Self.wakeToken {
            removeAsked()
          } else if read(token, buffer) {
            handled = true
          }
        }
        let due = toldAgainAt.map { $0 <= Moment.now().uptime } ?? handled
        if due { toldAgainAt = tell().map { Moment.now().uptime + Int64($0) * 1_000_000 } }
      }
    }
    for token in state.withLock({ Array($0.pipes.keys) }) { finish(token) }
  }

  private static func milliseconds(until deadline: Int64?) -> CInt {
    guard let deadline else { return -1 }
    return CInt(clamping: max(0, deadline - Moment.now().uptime + 999_999) / 1_000_000)
  }

  private func removeAsked() {
    _ = apus_wake_clear(wake)
    let asked = state.withLock { state in
      defer { state.removing = [] }
      return state.removing
    }
    for token in asked { finish(token) }
  }

  /// Reads one buffer of a pipe and hands it on; whether there were bytes.
  private func read(_ token: UInt64, _ buffer: UnsafeMutableRawBufferPointer) -> Bool {
    // A pipe of this round may have been removed in it.
    guard let pipe = state.withLock({ $0.pipes[token] }) else { return false }
    let count = Glibc.read(pipe.fd, buffer.baseAddress, buffer.count)
    if count > 0 {
      pipe.handler.bytes(UnsafeRawBufferPointer(rebasing: buffer[0..<count]))
    } else if count == 0 || (errno != EAGAIN && errno != EINTR) {
      finish(token)
    }
    return count > 0
  }

  private func finish(_ token: UInt64) {
    guard let pipe = state.withLock({ $0.pipes.removeValue(forKey: token) }) else { return }
    _ = apus_poll_remove(poll, pipe.fd)
    close(pipe.fd)
    pipe.handler.end()
  }
}
