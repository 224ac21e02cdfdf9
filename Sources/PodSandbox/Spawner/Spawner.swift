import CLinux
import Dispatch
import Glibc
package import Logging
import Synchronization

/// Starts pods through `apus-spawner`, one small process that dies with this one and takes every pod with it.
///
/// One thread belongs to it: it launches the process (which asks to die with that very thread), reads its messages and
/// sends what did not fit at once. Call `shutdown()` when done; nothing else ends the thread.
package final class Spawner: Sendable {
  /// How pods ended, each once, in the order they ended. Read by one consumer; it ends with the spawner. Holds at most
  /// one element for each pod that was running.
  package let exits: AsyncStream<SandboxExit>
  /// The control groups its pods are put in.
  package let cgroups: CgroupTree

  private let process = Mutex<pid_t>(0)
  private let socket: CInt
  private let wake: CInt
  private let logger: Logger
  private let state = Mutex(SpawnerState())
  private let ended = Mutex(Ended())
  private let exitSink: AsyncStream<SandboxExit>.Continuation
  /// Reads a dead pod's figures and removes its groups, beside the thread that hears the spawner.
  private let reaper = DispatchQueue(label: "apus.sandbox.reaper")

  private struct Ended {
    var done = false
    var waiters: [CheckedContinuation<Void, Never>] = []
  }

  private static let readyTimeoutMs: CInt = 10_000

  private init(socket: CInt, wake: CInt, cgroups: CgroupTree, logger: Logger) {
    self.socket = socket
    self.wake = wake
    self.cgroups = cgroups
    self.logger = logger
    // Unbounded by policy, bounded by nature: one element for each running pod.
    (exits, exitSink) = AsyncStream.makeStream(bufferingPolicy: .unbounded)
  }

  deinit {
    close(socket)
    close(wake)
  }

  /// Launches `executable` (apus-spawner) for the pods of `instance` and waits until it is ready. Needs root. An
  /// instance belongs to one spawner at a time. Its groups stand below this process's own, or as `layout` says.
  package static func launch(
    executable: String, instance: String, layout: CgroupLayout = .current(), logger: Logger
  ) async throws(SandboxError) -> Spawner {
    guard access(executable, X_OK) == 0 else {
      throw .host(doing: "looking for the spawner \(executable); it is installed beside apus", errno: errno)
    }
    var pair: [CInt] = [-1, -1]
    guard apus_packet_pair(&pair) == 0 else { throw .host(doing: "making the spawner's socket", errno: errno) }
    let wake = apus_wake_create()
    let remote = pair[1]
    guard wake >= 0 else {
      close(pair[0])
      close(remote)
      throw .host(doing: "making the spawner's wake-up descriptor", errno: errno)
    }
    let spawner = Spawner(
      socket: pair[0], wake: wake, cgroups: CgroupTree(instance: instance, layout: layout), logger: logger)
    let launched: Result<Void, SandboxError> = await withCheckedContinuation { continuation in
      DedicatedThread.start(name: "apus-spawner") {
        spawner.run(executable: executable, remote: remote) { continuation.resume(returning: $0) }
      }
    }
    try launched.get()
    return spawner
  }

  /// Starts a pod; returns when its command was executed. The spec's descriptors may be closed afterwards. Its end,
  /// even an immediate one, comes through `exits` and may be seen there before this returns: tell pods by slot.
  package func start(_ spec: SandboxSpec) async throws(SandboxError) -> Sandbox {
    let askedNs = DedicatedThread.monotonicNs()
    let ticket = try state.withLock { state throws(SandboxError) in
      if case .dead(let why) = state.phase { throw .spawnerGone(why) }
      guard state.phase == .running else { throw .spawnerGone("it is shutting down") }
      guard state.outgoing.count < SpawnerState.outgoingLimit else { throw .busy(limit: SpawnerState.outgoingLimit) }
      return state.takeTicket()
    }
    let start = try await PreparedStart.prepare(spec, ticket: ticket, tree: cgroups)
    let preparedNs = DedicatedThread.monotonicNs()
    let result = await withCheckedContinuation { continuation in
      let waiting = SpawnerState.Waiting(
        slot: spec.slot, memoryLimit: spec.limits.memoryBytes, cgroup: start.cgroup,
        command: spec.arguments.first ?? "", askedNs: askedNs, preparedNs: preparedNs, continuation: continuation)
      send(start, ticket: ticket, waiting)
    }
    start.closeDescriptors()
    if case .failure = result { discard(start.cgroup) }
    return try result.get()
  }

  /// Sends a signal to a pod: SIGTERM and its like reach the command, SIGKILL ends the pod and all in it. False when
  /// the pod has already ended.
  @discardableResult
  package func signal(_ sandbox: Sandbox, _ signal: CInt) -> Bool {
    apus_pidfd_signal(sandbox.pidfd, signal) == 0
  }

  /// The spawner's process number on the host.
  package var processID: Int32 { process.withLock { $0 } }

  /// Pods running now.
  package var runningCount: Int { state.withLock { $0.running.count } }

  /// Kills every pod, ends the spawner, and returns when all are gone and their groups removed.
  package func shutdown() async {
    state.withLock { state in
      if state.phase == .running { state.phase = .closing }
    }
    Glibc.shutdown(socket, Int32(SHUT_RDWR))
    await withCheckedContinuation { continuation in
      let already = ended.withLock { ended in
        if !ended.done { ended.waiters.append(continuation) }
        return ended.done
      }
      if already { continuation.resume() }
    }
  }

  // MARK: - Sending

  private func send(_ start: PreparedStart, ticket: UInt64, _ waiting: SpawnerState.Waiting) {
    // Registered first: the answer may be faster than the next line.
    let gone: SandboxError? = state.withLock { state in
      if case .dead(let why) = state.phase { return .spawnerGone(why) }
      state.waiting[ticket] = waiting
      return nil
    }
    if let gone {
      waiting.continuation.resume(returning: .failure(gone))
      return
    }
    let sent = apus_send(socket, start.message, start.message.count, start.descriptors, start.descriptors.count)
    if sent >= 0 { return }
    // A closed socket is noticed by the reading thread, which fails all who wait.
    guard errno == EAGAIN else { return }
    state.withLock { state in
      state.outgoing.append(.init(ticket: ticket, bytes: start.message, descriptors: start.descriptors))
    }
    _ = apus_wake(wake)
  }

  /// Sends what waits, as far as the socket takes it; true when something is left.
  private func sendOutgoing() -> Bool {
    state.withLock { state in
      var sent = 0
      for message in state.outgoing {
        // SAFETY of the descriptors: their owner waits for the answer to this very message before closing them.
        if apus_send(socket, message.bytes, message.bytes.count, message.descriptors, message.descriptors.count) < 0 {
          break
        }
        sent += 1
      }
      state.outgoing.removeFirst(sent)
      return !state.outgoing.isEmpty
    }
  }

  // MARK: - The thread

  private func run(executable: String, remote: CInt, launched: (Result<Void, SandboxError>) -> Void) {
    var pidfd: CInt = -1
    let pid = apus_launch_spawner(executable, remote, &pidfd)
    let code = errno
    close(remote)
    guard pid > 0 else {
      finish(why: "it did not start")
      launched(.failure(.host(doing: "starting the spawner \(executable) (needs root)", errno: code)))
      return
    }
    process.withLock { $0 = pid }
    let ready = awaitReady()
    if case .success = ready {
      logger.debug("spawner started", metadata: ["spawner.pid": "\(pid)"])
      launched(ready)
      while turn() {}
    } else {
      _ = apus_pidfd_signal(pidfd, SIGKILL)
    }
    // As process 1 of its namespace it is only gone when every pod is.
    let how = apus_pidfd_wait(pidfd)
    close(pidfd)
    let closing = state.withLock { $0.phase == .closing }
    finish(why: closing ? "it was shut down" : "it ended with \(how)")
    if case .failure = ready { launched(ready) }
  }

  private func awaitReady() -> Result<Void, SandboxError> {
    guard apus_wait_readable(socket, Self.readyTimeoutMs) == 1 else {
      return .failure(.spawnerGone("it was not ready within \(Self.readyTimeoutMs) ms"))
    }
    switch receive() {
    case .message(.ready, _): return .success(())
    case .message(.failed(_, let step, let code), _):
      return .failure(.failed(step: step, errno: code, command: "apus-spawner"))
    default:
      return .failure(.spawnerGone("it did not say that it is ready; apus and apus-spawner must be of one build"))
    }
  }

  private enum Received {
    case message(SpawnerReply, pidfd: CInt)
    case unknown
    case end
  }

  private func receive() -> Received {
    var reply = apus_reply()
    var pidfd: CInt = -1
    let length = apus_receive(socket, &reply, MemoryLayout<apus_reply>.size, &pidfd)
    if length <= 0 { return .end }
    if let known = SpawnerReply(reply, length: length) { return .message(known, pidfd: pidfd) }
    if pidfd >= 0 { close(pidfd) }
    return .unknown
  }

  /// Waits for one thing to happen and does it; false at the end of the connection.
  private func turn() -> Bool {
    let pending = sendOutgoing()
    var watched = [
      pollfd(fd: socket, events: Int16(POLLIN | (pending ? POLLOUT : 0)), revents: 0),
      pollfd(fd: wake, events: Int16(POLLIN), revents: 0),
    ]
    if poll(&watched, 2, -1) < 0 { return errno == EINTR }
    if watched[1].revents != 0 { _ = apus_wake_clear(wake) }
    guard Int32(watched[0].revents) & (POLLIN | POLLHUP | POLLERR) != 0 else { return true }
    switch receive() {
    case .end: return false
    case .unknown: logger.warning("unknown message from the spawner ignored")
    case .message(let reply, let pidfd): handle(reply, pidfd: pidfd)
    }
    return true
  }

  private func handle(_ reply: SpawnerReply, pidfd: CInt) {
    switch reply {
    case .ready: break
    case .started(let ticket, _, let clonedNs, let executedNs):
      let waiting = state.withLock { state in
        let waiting = state.waiting.removeValue(forKey: ticket)
        if let waiting {
          state.running[ticket] = .init(
            slot: waiting.slot, memoryLimit: waiting.memoryLimit, cgroup: waiting.cgroup)
        }
        return waiting
      }
      guard let waiting else {
        close(pidfd)
        return
      }
      let timings = SandboxTimings(
        preparedNs: waiting.preparedNs &- waiting.askedNs, clonedNs: clonedNs &- waiting.askedNs,
        executedNs: executedNs &- waiting.askedNs)
      let sandbox = Sandbox(
        ticket: ticket, slot: waiting.slot, pidfd: pidfd, timings: timings, cgroup: waiting.cgroup)
      waiting.continuation.resume(returning: .success(sandbox))
    case .failed(let ticket, let step, let code):
      let waiting = state.withLock { $0.waiting.removeValue(forKey: ticket) }
      waiting?.continuation.resume(
        returning: .failure(.failed(step: step, errno: code, command: waiting?.command ?? "")))
    case .exited(let ticket, let status, let cpu, let peakKiB):
      guard let running = state.withLock({ $0.running.removeValue(forKey: ticket) }) else { return }
      reaper.async { self.bury(running, ticket: ticket, status: status, cpu: cpu, peakKiB: peakKiB) }
    }
  }

  // MARK: - Ends

  private func bury(_ running: SpawnerState.Running, ticket: UInt64, status: Int32, cpu: UInt64, peakKiB: UInt64) {
    let usage = running.cgroup?.usage()
    let kills = running.cgroup?.outOfMemoryKills() ?? 0
    discard(running.cgroup)
    exitSink.yield(
      SandboxExit(
        ticket: ticket, slot: running.slot, waitStatus: status, outOfMemoryKills: kills,
        cpuMicroseconds: max(usage?.cpuMicroseconds ?? 0, cpu),
        peakMemoryBytes: usage?.peakMemoryBytes ?? peakKiB * 1024, memoryLimit: running.memoryLimit))
  }

  private func discard(_ cgroup: Cgroup?) {
    var pending = state.withLock { state in
      let pending = state.undestroyed
      state.undestroyed = []
      return pending
    }
    if let cgroup { pending.append(cgroup) }
    let left = pending.filter { !$0.destroy() }
    if !left.isEmpty { state.withLock { $0.undestroyed.append(contentsOf: left) } }
  }

  /// The spawner and with it every pod is gone: fails who waits, reports who ran, removes the groups.
  private func finish(why: String) {
    let (waiting, running, wasClosing) = state.withLock { state in
      let wasClosing = state.phase == .closing
      state.phase = .dead(why)
      let result = (state.waiting, state.running, wasClosing)
      state.waiting = [:]
      state.running = [:]
      state.outgoing = []
      return result
    }
    for start in waiting.values { start.continuation.resume(returning: .failure(.spawnerGone(why))) }
    // Through the reaper, so that ends heard before this one are reported before it.
    reaper.async {
      for (ticket, pod) in running.sorted(by: { $0.key < $1.key }) {
        let usage = pod.cgroup?.usage()
        self.discard(pod.cgroup)
        self.exitSink.yield(
          SandboxExit(
            ticket: ticket, slot: pod.slot, waitStatus: SIGKILL, outOfMemoryKills: 0,
            cpuMicroseconds: usage?.cpuMicroseconds ?? 0, peakMemoryBytes: usage?.peakMemoryBytes ?? 0,
            memoryLimit: pod.memoryLimit, spawnerDied: !wasClosing))
      }
      self.discard(nil)
      self.cgroups.removeIfEmpty()
      self.exitSink.finish()
      let waiters = self.ended.withLock { ended in
        ended.done = true
        defer { ended.waiters = [] }
        return ended.waiters
      }
      for waiter in waiters { waiter.resume() }
    }
  }
}
