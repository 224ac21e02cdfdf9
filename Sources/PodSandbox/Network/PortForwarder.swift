import CLinux
import Glibc
import Synchronization

/// Reaches TCP servers inside pods. A pod has no route to anywhere, so a thread of its own steps into the pod's network
/// namespace, makes the socket there, and steps back; the socket stays where it was made.
package final class PortForwarder: Sendable {
  /// Why no connection was made.
  package enum Failure: Error, Sendable, Equatable, CustomStringConvertible {
    /// Nothing listens on the port (yet).
    case refused
    /// Listening, but it did not accept in time: its backlog is full.
    case timedOut
    /// The pod is gone, or something else failed.
    case failed(errno: CInt)
    /// More connects are on their way than allowed; try again.
    case busy(limit: Int)
    /// `stop()` was called.
    case stopped
    /// The task that asked was cancelled.
    case cancelled

    /// The explanation in words.
    package var description: String {
      switch self {
      case .refused: "nothing listens on the port inside the pod"
      case .timedOut: "the server inside the pod did not accept the connection in time"
      case .failed(let code): "connecting into the pod: \(SandboxError.text(code))"
      case .busy(let limit): "\(limit) connections are being made already"
      case .stopped: "the worker is stopping"
      case .cancelled: "nobody waits for the connection any more"
      }
    }
  }

  /// What is made inside a pod's network namespace.
  private enum Wish {
    /// A connection to a port of its loopback.
    case connection(UInt16)
    /// A listening socket on a port of its loopback.
    case listener(UInt16)
    /// The interface through which it reaches others.
    case interface
    /// A connection to a port of its loopback as soon as something listens there, under the id of who waits.
    case first(UInt64, Sandbox, UInt16, PortPatience)
  }

  private struct Request {
    var sandbox: Sandbox?
    var pidfd: CInt
    var wish: Wish
    var continuation: CheckedContinuation<Result<CInt, Failure>, Never>
  }

  private struct Pending {
    var fd: CInt
    var deadlineNs: UInt64
    var continuation: CheckedContinuation<Result<CInt, Failure>, Never>
  }

  private struct State {
    var requests: [Request] = []
    /// Who gave up waiting for a first connection and was not told yet.
    var ended: Set<UInt64> = []
    var lastID: UInt64 = 0
    var stopping = false
  }

  /// Connects on their way at once.
  package static let limit = 4096
  private static let timeoutNs: UInt64 = 2_000_000_000

  private let state = Mutex(State())
  private let wake: CInt

  /// Starts the thread; `stop()` ends it.
  package init() throws(SandboxError) {
    wake = apus_wake_create()
    let home = apus_netns_home()
    guard wake >= 0, home >= 0 || errno == 0 else {
      let code = errno
      if wake >= 0 { close(wake) }
      throw .host(doing: "opening /proc/self/ns/net", errno: code)
    }
    DedicatedThread.start(name: "apus-connect") { self.run(home: home) }
  }

  deinit {
    close(wake)
  }

  /// A connected, non-blocking TCP socket to 127.0.0.1:`port` inside the pod; the caller owns it.
  package func connect(to sandbox: Sandbox, port: UInt16) async throws(Failure) -> CInt {
    try await make(.connection(port), sandbox, sandbox.pidfd)
  }

  /// The same by process descriptor, which must stay open until this returns.
  package func connect(pidfd: CInt, port: UInt16) async throws(Failure) -> CInt {
    try await make(.connection(port), nil, pidfd)
  }

  /// A non-blocking TCP socket that listens on 127.0.0.1:`port` inside the pod; the caller owns it.
  package func listen(in sandbox: Sandbox, port: UInt16) async throws(Failure) -> CInt {
    try await make(.listener(port), sandbox, sandbox.pidfd)
  }

  /// The descriptor of a new interface inside the pod on which its frames are read and written; the caller owns it, and
  /// the interface is gone with its last copy.
  func interface(in sandbox: Sandbox) async throws(Failure) -> CInt {
    try await make(.interface, sandbox, sandbox.pidfd)
  }

  /// The same as soon as something listens on the port, however long that takes; throws `cancelled` when the task is.
  package func firstConnection(
    to sandbox: Sandbox, port: UInt16, patience: PortPatience
  ) async throws(Failure) -> CInt {
    let id = state.withLock { state in
      state.lastID += 1
      return state.lastID
    }
    let result: Result<CInt, Failure> = await withTaskCancellationHandler {
      do throws(Failure) {
        return .success(try await make(.first(id, sandbox, port, patience), sandbox, sandbox.pidfd))
      } catch {
        return .failure(error)
      }
    } onCancel: {
      state.withLock { _ = $0.ended.insert(id) }
      _ = apus_wake(wake)
    }
    state.withLock { _ = $0.ended.remove(id) }
    return try result.get()
  }

  private func make(_ wish: Wish, _ sandbox: Sandbox?, _ pidfd: CInt) async throws(Failure) -> CInt {
    let result: Result<CInt, Failure> = await withCheckedContinuation { continuation in
      let refused: Failure? = state.withLock { state in
        if state.stopping { return .stopped }
        if state.requests.count >= Self.limit { return .busy(limit: Self.limit) }
        state.requests.append(.init(sandbox: sandbox, pidfd: pidfd, wish: wish, continuation: continuation))
        return nil
      }
      if let refused {
        continuation.resume(returning: .failure(refused))
      } else {
        _ = apus_wake(wake)
      }
    }
    return try result.get()
  }

  /// Ends the thread; connects on their way fail.
  package func stop() {
    state.withLock { $0.stopping = true }
    _ = apus_wake(wake)
  }

  private func run(home: CInt) {
    // Pods are ready when they are: 50 µs later is a hundredth of a cold start.
    _ = apus_timer_slack(1)
    var pending: [Pending] = []
    var waiters = PortWaiters()
    while true {
      let (requests, ended, stopping) = state.withLock { state in
        defer { state.requests = [] }
        return (state.requests, state.ended, state.stopping)
      }
      for request in requests { begin(request, home: home, stopping: stopping, &pending, &waiters) }
      for id in ended { waiters.end(id, .cancelled) }
      if stopping { break }
      waiters.ask(now: DedicatedThread.monotonicNs(), home: home)
      wait(&pending, asking: waiters.next)
    }
    waiters.endAll(.stopped)
    for one in pending {
      close(one.fd)
      one.continuation.resume(returning: .failure(.stopped))
    }
    if home >= 0 { close(home) }
  }

  private func begin(
    _ request: Request, home: CInt, stopping: Bool, _ pending: inout [Pending], _ waiters: inout PortWaiters
  ) {
    if stopping {
      request.continuation.resume(returning: .failure(.stopped))
      return
    }
    let fd: CInt
    switch request.wish {
    case .connection(let port): fd = apus_netns_connect(request.pidfd, port, home)
    case .listener(let port): fd = apus_netns_listen(request.pidfd, port, home)
    case .interface: fd = apus_netns_tap(request.pidfd, home)
    case .first(let id, let sandbox, let port, let patience):
      return waiters.add(id, sandbox, port, patience, now: DedicatedThread.monotonicNs(), request.continuation)
    }
    if fd >= 0 {
      guard case .connection = request.wish else { return request.continuation.resume(returning: .success(fd)) }
      let deadline = DedicatedThread.monotonicNs() + Self.timeoutNs
      pending.append(.init(fd: fd, deadlineNs: deadline, continuation: request.continuation))
    } else {
      request.continuation.resume(returning: .failure(Self.failure(errno)))
    }
  }

  /// Waits for a wake-up, a decided connect, the next deadline or the moment somebody is to be asked, and answers who is
  /// decided.
  private func wait(_ pending: inout [Pending], asking: UInt64?) {
    var watched = [pollfd(fd: wake, events: Int16(POLLIN), revents: 0)]
    watched += pending.map { pollfd(fd: $0.fd, events: Int16(POLLOUT), revents: 0) }
    let now = DedicatedThread.monotonicNs()
    let next = (pending.map(\.deadlineNs) + (asking.map { [$0] } ?? [])).min()
    let timeout = next.map { $0 > now ? Int64($0 - now) : 0 } ?? -1
    _ = apus_poll(&watched, UInt32(watched.count), timeout)
    if watched[0].revents != 0 { _ = apus_wake_clear(wake) }
    let later = DedicatedThread.monotonicNs()
    var left: [Pending] = []
    for (index, one) in pending.enumerated() {
      if watched[index + 1].revents != 0 {
        let code = apus_socket_error(one.fd)
        if code == 0 {
          one.continuation.resume(returning: .success(one.fd))
        } else {
          close(one.fd)
          one.continuation.resume(returning: .failure(Self.failure(code)))
        }
      } else if one.deadlineNs <= later {
        close(one.fd)
        one.continuation.resume(returning: .failure(.timedOut))
      } else {
        left.append(one)
      }
    }
    pending = left
  }

  private static func failure(_ code: CInt) -> Failure {
    code == ECONNREFUSED ? .refused : code == ETIMEDOUT ? .timedOut : .failed(errno: code)
  }
}
