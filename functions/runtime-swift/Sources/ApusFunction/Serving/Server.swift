import Glibc
import Synchronization

/// What serves the calls of a process.
package protocol CallRunner: Sendable {
  /// Serves one call on a thread of its own, to its answer; may block.
  func run(_ call: Call)
}

/// The settings of a server, from the pod's environment.
package struct ServerSettings: Sendable {
  /// The most calls at once.
  package var concurrency = 1
  /// The largest body of a request, in bytes.
  package var maxBody = 100 * 1024 * 1024
  /// The listening unix socket.
  package var listener: Int32 = 3
  /// Where log frames are written.
  package var frames: Int32 = 4
  /// Where one byte says that the function is ready.
  package var control: Int32 = 5
  /// Whether `serve` says that the function is ready; if not, whoever knows does.
  package var saysReady = true

  /// The settings of the process's environment: APUS_CONCURRENCY and APUS_MAX_BODY.
  package static func fromEnvironment() -> ServerSettings {
    var settings = ServerSettings()
    if let value = ProcessEnvironment["APUS_CONCURRENCY"].flatMap({ Int($0) }) { settings.concurrency = max(1, value) }
    if let value = ProcessEnvironment["APUS_MAX_BODY"].flatMap({ Int($0) }) { settings.maxBody = max(0, value) }
    return settings
  }
}

/// Serves HTTP/1.1 on a unix socket: the calling thread polls every connection, each running call has a thread.
package final class Server {
  private struct Idle {
    var buffer: [UInt8] = []
    var since: Int?
  }

  private struct Waiting {
    var descriptor: Int32
    var head: RequestHead
    var buffer: [UInt8]
  }

  struct Ended: Sendable {
    var descriptor: Int32
    var buffer: [UInt8]
    var keepAlive: Bool
  }

  private static let headSeconds = 30
  private let settings: ServerSettings
  private let frames: Frames
  private let runner: any CallRunner
  private let threads = CallThreads()
  private let ended = Ends()
  private var idle: [Int32: Idle] = [:]
  private var waiting: [Waiting] = []
  private var running: [Int32: Cancellation] = [:]
  private var given: Set<Int32> = []
  private var listening = true
  private var full = false
  private let reaps = getpid() == 1

  /// A server whose calls `runner` serves and whose output goes to `frames`.
  package init(settings: ServerSettings, frames: Frames, runner: any CallRunner) {
    self.settings = settings
    self.frames = frames
    self.runner = runner
  }

  /// Says that the function is ready, then serves until SIGTERM; returns when the calls that ran have ended.
  package func serve() {
    StopSignal.install()
    for descriptor in [settings.listener, settings.frames, settings.control] { Sockets.closeOnExec(descriptor) }
    Sockets.nonBlocking(settings.listener)
    if settings.saysReady { Self.sayReady(settings.control) }
    while true {
      if StopSignal.isSet { drain() }
      if !listening, idle.isEmpty, waiting.isEmpty, running.isEmpty { return }
      wait()
      startCalls()
    }
  }

  /// Writes the byte that says that the function is loaded.
  package static func sayReady(_ control: Int32) {
    var ready: UInt8 = 0x31
    _ = write(control, &ready, 1)
  }

  /// Does what SIGTERM does: every server of the process drains and returns.
  package static func stop() { StopSignal.set() }

  private func drain() {
    if listening {
      listening = false
      close(settings.listener)
    }
    for descriptor in idle.keys { close(descriptor) }
    idle.removeAll()
  }

  private func wait() {
    var entries = [pollfd(fd: StopSignal.wakeRead, events: Int16(POLLIN), revents: 0)]
    if listening, !full { entries.append(pollfd(fd: settings.listener, events: Int16(POLLIN), revents: 0)) }
    for descriptor in idle.keys { entries.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)) }
    for descriptor in running.keys where !given.contains(descriptor) {
      entries.append(pollfd(fd: descriptor, events: Sockets.peerClosed, revents: 0))
    }
    let beginning = idle.values.contains { $0.since != nil }
    guard poll(&entries, nfds_t(entries.count), beginning ? 1000 : -1) > 0 else { return expire() }
    for entry in entries where entry.revents != 0 {
      if entry.fd == StopSignal.wakeRead {
        StopSignal.clear()
        for end in ended.take() { finish(end) }
      } else if listening, entry.fd == settings.listener {
        accept()
      } else if idle[entry.fd] != nil {
        read(entry.fd)
      } else if let cancellation = running[entry.fd] {
        given.insert(entry.fd)
        cancellation.cancel()
      }
    }
    if beginning { expire() }
  }

  private func accept() {
    for _ in 0..<64 {
      let descriptor = Sockets.acceptOne(settings.listener)
      guard descriptor >= 0 else {
        if errno == EMFILE { makeRoom() }
        return
      }
      Sockets.bound(descriptor)
      idle[descriptor] = Idle()
      read(descriptor)
    }
  }

  /// No descriptor is left: an idle connection makes room for the next one.
  private func makeRoom() {
    if let descriptor = idle.first(where: { $0.value.buffer.isEmpty })?.key {
      idle[descriptor] = nil
      close(descriptor)
    } else {
      full = true
    }
  }

  private func read(_ descriptor: Int32) {
    guard idle[descriptor] != nil else { return }
    var buffer = idle[descriptor]?.buffer ?? []
    idle[descriptor]?.buffer = []
    switch Sockets.receive(descriptor, into: &buffer, wait: false) {
    case .bytes: advance(descriptor, buffer)
    case .wouldBlock: idle[descriptor]?.buffer = buffer
    case .closed: drop(descriptor)
    }
  }

  /// Queues the connection's next call if its head is there; otherwise waits for more bytes.
  private func advance(_ descriptor: Int32, _ buffer: [UInt8]) {
    do throws(BadRequest) {
      guard let end = try HeadParser.end(of: buffer) else {
        let since = buffer.isEmpty ? nil : idle[descriptor]?.since ?? Clock.monotonicSeconds()
        idle[descriptor] = Idle(buffer: buffer, since: since)
        return
      }
      let head = try HeadParser.parse(buffer[..<end])
      idle[descriptor] = nil
      waiting.append(Waiting(descriptor: descriptor, head: head, buffer: Array(buffer[end...])))
    } catch {
      Call.refuse(error, descriptor)
      drop(descriptor)
    }
  }

  private func expire() {
    let now = Clock.monotonicSeconds()
    for (descriptor, connection) in idle {
      guard let since = connection.since, now - since > Self.headSeconds else { continue }
      Call.refuse(BadRequest("the head stopped arriving", status: 408, code: "request_timeout"), descriptor)
      drop(descriptor)
    }
  }

  private func startCalls() {
    while !waiting.isEmpty, running.count < settings.concurrency {
      let next = waiting.removeFirst()
      let cancellation = Cancellation()
      running[next.descriptor] = cancellation
      let (runner, frames, ended, maxBody, draining) = (runner, frames, ended, settings.maxBody, !listening)
      let started = threads.start {
        let call = Call(
          head: next.head, descriptor: next.descriptor, buffer: next.buffer, cancellation: cancellation,
          frames: frames, maxBody: maxBody, draining: draining)
        runner.run(call)
        call.output.flush()
        fflush(nil)
        ended.add(
          Ended(
            descriptor: next.descriptor, buffer: call.buffer,
            keepAlive: call.keepAlive && call.bodyComplete && call.answered))
      }
      guard !started else { continue }
      running[next.descriptor] = nil
      if !running.isEmpty {  // the pod has no thread left: the call waits for another to end
        waiting.insert(next, at: 0)
        return
      }
      let message = "no thread is left for this call: raise spec.resources.pids"
      Call.refuse(BadRequest(message, status: 503, code: "no_capacity"), next.descriptor)
      drop(next.descriptor)
    }
  }

  private func finish(_ end: Ended) {
    running[end.descriptor] = nil
    given.remove(end.descriptor)
    if reaps, running.isEmpty { while waitpid(-1, nil, WNOHANG) > 0 {} }
    if end.keepAlive, listening || !end.buffer.isEmpty {
      idle[end.descriptor] = Idle()
      advance(end.descriptor, end.buffer)
    } else {
      drop(end.descriptor)
    }
  }

  private func drop(_ descriptor: Int32) {
    idle[descriptor] = nil
    close(descriptor)
    full = false
  }

  /// The calls that ended since the loop last looked.
  final class Ends: Sendable {
    private let list = Mutex<[Ended]>([])

    func add(_ end: Ended) {
      list.withLock { $0.append(end) }
      StopSignal.wake()
    }

    func take() -> [Ended] {
      list.withLock { list in
        defer { list = [] }
        return list
      }
    }
  }
}
