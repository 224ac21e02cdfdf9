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
    limitsProcesses = !cgroups.countsProcesses
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
    let bind = try PreparedBind(
      spec.bind, ticket: 1, slot: spec.stem.slot, isWarm: spec.stem.isWarm, limitProcesses: limitsProcesses)
    defer { bind.closeDescriptors() }
    let made = try await make(spec.stem, command: spec.bind.arguments.first ?? "", bind: bind)
    close(made.socket)
    return made.sandbox
  }

  /// Makes a stem; returns when it stands. Its end comes through `exits`, bound or not.
  package func prepare(_ spec: StemSpec) async throws(SandboxError) -> Stem {
    let made = try await make(spec, command: spec.warmArguments.first ?? "", bind: nil)
    return Stem(sandbox: made.sandbox, spec: spec, socket: made.socket)
  }

  /// Makes a stem a function's pod: writes what it may use and tells it what it is. It runs soon afterwards; should it
  /// fail to, its end says why. Throws when it has ended; may be called once.
  package func bind(_ stem: Stem, _ spec: BindSpec) throws(SandboxError) -> Sandbox {
    let sandbox = stem.sandbox
    let socket = stem.takeSocket()
    guard socket >= 0 else { throw .spawnerGone("the stem was bound or discarded before") }
    defer { close(socket) }
    let bind = try PreparedBind(
      spec, ticket: sandbox.ticket, slot: sandbox.slot, isWarm: stem.spec.isWarm, limitProcesses: limitsProcesses)
    defer { bind.closeDescriptors() }
    if let cgroup = sandbox.cgroup {
      try cgroups.change(
        cgroup, to: spec.limits, from: CgroupTree.Former(limits: stem.spec.limits, quiet: stem.spec.quiet))
    }
    state.withLock { state in
      state.running[sandbox.ticket]?.memoryLimit = spec.limits.memoryBytes
      state.running[sandbox.ticket]?.command = spec.arguments.first ?? ""
    }
    guard bind.send(over: socket) else { throw .spawnerGone("the stem has ended") }
    return sandbox
  }

  /// Starts a process that pods are forked from, on a root; returns when it serves.
  package func launchZygote(root: String, arguments: [String], environment: [String: String])
    async throws(SandboxError) -> Zygote
  {
    let ticket = try state.withLock { state throws(SandboxError) in try state.admit() }
    let message = try SpawnerMessage.zygote(arguments, environment, ticket: ticket)
    let tree = try PreparedStem.openTree(root, named: "root")
    defer { close(tree) }
    let zygote = Zygote(ticket: ticket)
    let result: Result<Void, SandboxError> = await withCheckedContinuation { continuation in
      let gone = state.withLock { state -> SandboxError? in
        if case .dead(let why) = state.phase { return .spawnerGone(why) }
        state.zygotes[ticket] = zygote
        state.zygotesWaiting[ticket] = continuation
        state.heard[ticket] = DedicatedThread.monotonicNs()
        return nil
      }
      if let gone { return continuation.resume(returning: .failure(gone)) }
      if let refused = send(message, [tree]) { zygoteGone(ticket, refused) }
    }
    try result.get()
    return zygote
  }

  /// Ends a zygote; its pods live on.
  package func retire(_ zygote: Zygote) {
    zygote.ended()
    // One of a spawner before this may have the same number as one of ours.
    guard state.withLock({ $0.zygotes[zygote.ticket] === zygote }) else { return }
    send(SpawnerMessage.retire(ticket: zygote.ticket), [])
  }

  /// Processes are counted by a limit of the user where no group counts them.
  private let limitsProcesses: Bool

  private func make(_ spec: StemSpec, command: String, bind: PreparedBind?) async throws(SandboxError)
    -> (sandbox: Sandbox, socket: CInt)
  {
    let askedNs = DedicatedThread.monotonicNs()
    let ticket = try state.withLock { state throws(SandboxError) in try state.admit() }
    let start = try await PreparedStem.prepare(spec, ticket: ticket, tree: cgroups)
    let preparedNs = DedicatedThread.monotonicNs()
    // What it is to be waits in its socket, when that is known already; but a zygote may end between making a pod and
    // telling of it, and a pod that nobody knows of must not become anything.
    let socket = start.socket
    let later: (@Sendable () -> Void)?
    if let bind, spec.origin.zygote != nil { later = { _ = bind.send(over: socket) } } else { later = nil }
    if let bind, later == nil { _ = bind.send(over: socket) }
    let result: Result<Sandbox, SandboxError> = await withCheckedContinuation { continuation in
      let waiting = SpawnerState.Waiting(
        slot: spec.slot, memoryLimit: spec.limits.memoryBytes, cgroup: start.cgroup, command: command,
        zygote: spec.origin.zygote, askedNs: askedNs, preparedNs: preparedNs, untilBound: bind != nil,
        tellWhatItIs: later, continuation: continuation)
      // Registered first: the answer may be faster than the next line.
      let gone = state.withLock { state -> SandboxError? in
        if case .dead(let why) = state.phase { return .spawnerGone(why) }
        state.waiting[ticket] = waiting
        return nil
      }
      if let gone { return continuation.resume(returning: .failure(gone)) }
      if let refused = send(start.message, start.descriptors) {
        state.withLock { $0.waiting.removeValue(forKey: ticket) }?.continuation.resume(returning: .failure(refused))
      }
    }
    start.closeDescriptors()
    do {
      return (try result.get(), start.socket)
    } catch {
      close(start.socket)
      // One whose process could not be received lives, and nobody else could end it.
      if case .host(doing: Self.receiving, _) = error { start.cgroup?.killAll() }
      // At once: after this the worker may end.
      if let cgroup = start.cgroup, !cgroup.destroy() { discard(cgroup) }
      throw error
    }
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

  /// Sends a message now, or lets the thread do it when the socket is full; the descriptors stay open until the answer.
  /// Answers why there will be none.
  @discardableResult
  private func send(_ message: [UInt8], _ descriptors: [CInt]) -> SandboxError? {
    let sent = apus_send(socket, message, message.count, descriptors, descriptors.count)
    let code = errno
    // A closed socket is noticed by the reading thread, which fails all who wait.
    if sent >= 0 || code == EPIPE || code == ECONNRESET { return nil }
    guard code == EAGAIN else { return .host(doing: "sending to the spawner", errno: code) }
    state.withLock { $0.outgoing.append(.init(bytes: message, descriptors: descriptors)) }
    _ = apus_wake(wake)
    return nil
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
    }
    // Whatever ended the conversation: one that nobody hears is no use, and would be waited for without end.
    if state.withLock({ $0.phase }) != .closing { _ = apus_pidfd_signal(pidfd, SIGKILL) }
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
    case .message(.ready(ticket: 0), _): return .success(())
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
    let hasZygotes = endStuckZygotes()
    if poll(&watched, 2, hasZygotes ? CInt(SpawnerState.zygoteLookNs / 1_000_000) : -1) < 0 { return errno == EINTR }
    if watched[1].revents != 0 { _ = apus_wake_clear(wake) }
    guard Int32(watched[0].revents) & (POLLIN | POLLHUP | POLLERR) != 0 else { return true }
    switch receive() {
    case .end: return false
    case .unknown: logger.warning("unknown message from the spawner ignored")
    case .message(let reply, let pidfd): handle(reply, pidfd: pidfd)
    }
    return true
  }

  /// A zygote that stopped answers nobody and does not end by itself: it is ended, and who waits for it is told. Answers
  /// whether there are zygotes.
  private func endStuckZygotes() -> Bool {
    let now = DedicatedThread.monotonicNs()
    let (stuck, hasZygotes) = state.withLock { ($0.lookForStuckZygotes(now: now), !$0.zygotes.isEmpty) }
    for zygote in stuck where zygote.isAlive {
      logger.warning("a zygote that did not answer is ended", metadata: ["zygote": "\(zygote.ticket)"])
      retire(zygote)
    }
    return hasZygotes
  }

  private func handle(_ reply: SpawnerReply, pidfd: CInt) {
    switch reply {
    case .ready(let ticket):
      state.withLock { $0.zygotesWaiting.removeValue(forKey: ticket) }?.resume(returning: .success(()))
    case .gone(let ticket): zygoteGone(ticket, .spawnerGone("a zygote ended before it served"))
    case .started(let ticket, _, let clonedNs, let stoodNs):
      started(ticket, clonedNs: clonedNs, stoodNs: stoodNs, pidfd: pidfd)
    case .bound(let ticket, let ns): bound(ticket, ns)
    case .failed(let ticket, let step, let code):
      let waiting = state.withLock { $0.waiting.removeValue(forKey: ticket) }
      let error = SandboxError.failed(step: step, errno: code, command: waiting?.command ?? "zygote")
      waiting?.continuation.resume(returning: .failure(error))
      if waiting == nil { zygoteGone(ticket, error) }
    case .exited(let ticket, let step, let status, let cpu, let peakKiB):
      exited(ticket, step, status, cpu: cpu, peakKiB: peakKiB)
    }
  }

  private static let receiving = "receiving a pod's process (the worker has no descriptor left)"

  private func started(_ ticket: UInt64, clonedNs: UInt64, stoodNs: UInt64, pidfd: CInt) {
    if pidfd < 0, let lost = state.withLock({ $0.waiting.removeValue(forKey: ticket) }) {
      return lost.continuation.resume(returning: .failure(.host(doing: Self.receiving, errno: EMFILE)))
    }
    let answer = state.withLock { state -> (SpawnerState.Waiting, Sandbox)? in
      guard var waiting = state.waiting[ticket] else { return nil }
      if let zygote = waiting.zygote { state.heard[zygote] = DedicatedThread.monotonicNs() }
      let timings = SandboxTimings(
        preparedNs: waiting.preparedNs &- waiting.askedNs, clonedNs: clonedNs &- waiting.askedNs,
        stoodNs: stoodNs &- waiting.askedNs)
      let sandbox = Sandbox(
        ticket: ticket, slot: waiting.slot, pidfd: pidfd, timings: timings, stoodNs: stoodNs,
        cgroup: waiting.cgroup)
      waiting.sandbox = sandbox
      state.waiting[ticket] = waiting
      if !waiting.untilBound { state.run(ticket) }
      return (waiting, sandbox)
    }
    guard let (waiting, sandbox) = answer else {
      if pidfd >= 0 { close(pidfd) }
      return
    }
    waiting.tellWhatItIs?()
    if !waiting.untilBound { waiting.continuation.resume(returning: .success(sandbox)) }
  }

  private func bound(_ ticket: UInt64, _ ns: UInt64) {
    let (waiting, sandbox) = state.withLock { state in
      let waiting = state.run(ticket)
      return (waiting, state.running[ticket]?.sandbox)
    }
    sandbox?.heardThatItRuns(since: ns)
    // A stem's: nobody waits for it.
    guard let waiting, let sandbox else { return }
    waiting.continuation.resume(returning: .success(sandbox))
  }

  private func exited(_ ticket: UInt64, _ step: SandboxStep, _ status: Int32, cpu: UInt64, peakKiB: UInt64) {
    let (waiting, running) = state.withLock {
      ($0.waiting.removeValue(forKey: ticket), $0.running.removeValue(forKey: ticket))
    }
    if let waiting {
      let failed = step == .none ? SandboxStep.exec : step
      waiting.continuation.resume(
        returning: .failure(
          .failed(step: failed, errno: step == .none ? ECHILD : status, command: waiting.command)))
    }
    guard let running else { return }
    let failure =
      step == .none ? nil : SandboxError.failed(step: step, errno: status, command: running.command)
    reaper.async {
      self.bury(
        running, ticket: ticket, status: failure == nil ? status : SIGKILL, cpu: cpu, peakKiB: peakKiB, failure)
    }
  }

  private func zygoteGone(_ ticket: UInt64, _ error: SandboxError) {
    let (zygote, waiting) = state.withLock {
      $0.heard[ticket] = nil
      return ($0.zygotes.removeValue(forKey: ticket), $0.zygotesWaiting.removeValue(forKey: ticket))
    }
    zygote?.ended()
    waiting?.resume(returning: .failure(error))
  }

  // MARK: - Ends

  private func bury(
    _ running: SpawnerState.Running, ticket: UInt64, status: Int32, cpu: UInt64, peakKiB: UInt64,
    _ failure: SandboxError?
  ) {
    let kills = status == 0 ? 0 : running.cgroup?.outOfMemoryKills() ?? 0
    exitSink.yield(
      SandboxExit(
        ticket: ticket, slot: running.slot, waitStatus: status, outOfMemoryKills: kills, cpuMicroseconds: cpu,
        peakMemoryBytes: peakKiB * 1024, memoryLimit: running.memoryLimit, failure: failure))
    discard(running.cgroup?.destroyButMemory())
  }

  /// Has what is left of a pod's groups removed in a moment.
  private func discard(_ cgroup: Cgroup?) {
    guard let cgroup else { return }
    if state.withLock({ $0.removals.add(cgroup, at: DedicatedThread.monotonicNs()) }) {
      removeSome(in: CgroupRemovals.quietNs)
    }
  }

  /// Removes groups when it is time to, a few and then more behind what else the reaper has to do.
  private func removeSome(in nanoseconds: UInt64) {
    let work = DispatchWorkItem {
      let now = DedicatedThread.monotonicNs()
      let some = self.state.withLock { $0.removals.due(at: now) == 0 ? $0.removals.take() : [] }
      let left = some.filter { !$0.destroy() }
      let next = self.state.withLock { state in
        state.removals.failed(left)
        return state.removals.due(at: now)
      }
      if let next { self.removeSome(in: next) }
    }
    if nanoseconds == 0 { return reaper.async(execute: work) }
    reaper.asyncAfter(deadline: .now() + .nanoseconds(Int(nanoseconds)), execute: work)
  }

  /// The spawner and with it every pod is gone: fails who waits, reports who ran, removes the groups.
  private func finish(why: String) {
    let (waiting, running, zygotes, wasClosing) = state.withLock { state in
      let wasClosing = state.phase == .closing
      state.phase = .dead(why)
      let result = (state.waiting, state.running, Array(state.zygotes.keys), wasClosing)
      state.waiting = [:]
      state.running = [:]
      state.outgoing = []
      return result
    }
    for zygote in zygotes { zygoteGone(zygote, .spawnerGone(why)) }
    for start in waiting.values { start.continuation.resume(returning: .failure(.spawnerGone(why))) }
    // Through the reaper, so that ends heard before this one are reported before it.
    reaper.async {
      for (ticket, pod) in running.sorted(by: { $0.key < $1.key }) {
        if let cgroup = pod.cgroup, !cgroup.destroy() { self.state.withLock { $0.removals.failed([cgroup]) } }
        self.exitSink.yield(
          SandboxExit(
            ticket: ticket, slot: pod.slot, waitStatus: SIGKILL, outOfMemoryKills: 0,
            cpuMicroseconds: 0, peakMemoryBytes: 0, memoryLimit: pod.memoryLimit, spawnerDied: !wasClosing))
      }
      for cgroup in self.state.withLock({ $0.removals.takeAll() }) { _ = cgroup.destroy() }
      self.cgroups.removeIfEmpty(withGroups: wasClosing)
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
