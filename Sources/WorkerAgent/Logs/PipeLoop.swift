import Dispatch
import Glibc
import Synchronization

/// One queue of its own that reads many pipes: at most one buffer of 64 KiB is read and not handed on.
///
/// One full buffer a pipe and round, so that a pod that writes without end holds up no other. The handlers run on the
/// queue itself; while they work, pods wait in their pipes: that is the back-pressure.
final class PipeLoop: Sendable {
  /// Bytes read at once.
  static let bufferBytes = 64 << 10

  /// What is done with one pipe's bytes and its end; both on the loop's queue.
  struct Handler: Sendable {
    var bytes: @Sendable (UnsafeRawBufferPointer) -> Void
    var end: @Sendable () -> Void
  }

  // SAFETY: libdispatch's sources may be used from any thread; only its annotation is missing on Linux.
  private struct Source: @unchecked Sendable {
    let dispatch: any DispatchSourceRead
  }

  private struct State {
    var sources: [UInt64: Source] = [:]
    var lastToken: UInt64 = 0
    var stopped = false
    /// Whether `tell` is due already.
    var telling = false
  }

  private let state = Mutex(State())
  private let queue: DispatchQueue
  private let open = DispatchGroup()
  private let tell: @Sendable () -> Int32?

  /// A loop without pipes. After bytes were handled, `tell` is asked, and asked again after as many milliseconds as it
  /// answers: it tells what could not be told yet (how many lines were dropped).
  init(name: String, tell: @escaping @Sendable () -> Int32? = { nil }) {
    self.tell = tell
    queue = DispatchQueue(label: name, qos: .userInitiated)
  }

  /// Reads a pipe until its end; the descriptor is the loop's from now on. Answers a token for `remove`.
  @discardableResult
  func add(_ fd: CInt, _ handler: Handler) -> UInt64 {
    let source = Source(dispatch: DispatchSource.makeReadSource(fileDescriptor: fd, queue: queue))
    let token = state.withLock { state -> UInt64? in
      guard !state.stopped else { return nil }
      state.lastToken += 1
      state.sources[state.lastToken] = source
      return state.lastToken
    }
    open.enter()
    source.dispatch.setEventHandler { [weak self] in self?.read(fd, token ?? 0, handler) }
    source.dispatch.setCancelHandler { [open] in
      close(fd)
      handler.end()
      open.leave()
    }
    source.dispatch.activate()
    if token == nil { source.dispatch.cancel() }
    return token ?? 0
  }

  /// Stops reading a pipe and closes it; its handler's end is called. Does nothing when it ended already.
  func remove(_ token: UInt64) { state.withLock { $0.sources.removeValue(forKey: token) }?.dispatch.cancel() }

  /// Closes every pipe and waits until the handlers have heard it; blocks for the round that runs.
  func stop() {
    let sources = state.withLock { state in
      state.stopped = true
      defer { state.sources = [:] }
      return Array(state.sources.values)
    }
    for source in sources { source.dispatch.cancel() }
    open.wait()
  }

  /// Reads what is there. A source tells of the end and of the bytes before it in one event only, so this goes on until
  /// there is nothing more; after each full buffer it is the other pipes' turn.
  private func read(_ fd: CInt, _ token: UInt64, _ handler: Handler) {
    guard state.withLock({ $0.sources[token] != nil }) else { return }
    let last = withUnsafeTemporaryAllocation(byteCount: Self.bufferBytes, alignment: 16) { buffer in
      while true {
        let count = Glibc.read(fd, buffer.baseAddress, buffer.count)
        if count < 0, errno == EINTR { continue }
        if count > 0 { handler.bytes(UnsafeRawBufferPointer(rebasing: buffer[0..<count])) }
        if count <= 0 || count == buffer.count { return (count: count, again: count < 0 && errno == EAGAIN) }
      }
    }
    if last.count > 0 {
      queue.async { [weak self] in self?.read(fd, token, handler) }
    } else if !last.again {
      remove(token)
    }
    tellLater()
  }

  private func tellLater() {
    guard !state.withLock({ $0.telling }), let milliseconds = tell() else { return }
    state.withLock { $0.telling = true }
    queue.asyncAfter(deadline: .now() + .milliseconds(Int(milliseconds))) { [weak self] in
      guard let self else { return }
      self.state.withLock { $0.telling = false }
      self.tellLater()
    }
  }
}
