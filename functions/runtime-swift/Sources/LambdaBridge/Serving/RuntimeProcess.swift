import ApusFunction
import Glibc
package import Programs
import Synchronization

/// The runtime's process: what it prints, and its end.
package final class RuntimeProcess: Sendable {
  /// How a process ended.
  package enum Ending: Equatable, Sendable {
    case exit(Int32)
    case signal(Int32)

    /// The exit code a shell would give it.
    package var code: Int32 {
      switch self {
      case .exit(let code): code
      case .signal(let number): 128 + number
      }
    }

    /// The fault of what it leaves without an answer.
    package var fault: FunctionFault {
      switch self {
      case .exit(let code):
        FunctionFault(type: "Runtime.ExitError", message: "the runtime exited with status \(code)")
      case .signal(let number):
        FunctionFault(type: "Runtime.ExitError", message: "the runtime was ended by signal \(number)")
      }
    }
  }

  /// Pieces read of a pipe at once: more than a pipe holds, and an end for one that is written without an end.
  private static let piecesMaximum = 64

  private struct Pipe {
    let descriptor: Int32
    let stream: CallOutput.Stream
    var line: [UInt8] = []
    var isOpen = true
  }

  private let program: Program
  private let invocations: Invocations
  private let pipes: Mutex<[Pipe]>
  private let threads = CallThreads()
  private let ended = Semaphore()

  /// The process of a runtime that was started; its standard input is closed.
  package init(_ program: Program, invocations: Invocations) {
    self.program = program
    self.invocations = invocations
    close(program.input)
    for descriptor in [program.output, program.errors] { Sockets.nonBlocking(descriptor) }
    pipes = Mutex([
      Pipe(descriptor: program.output, stream: .stdout), Pipe(descriptor: program.errors, stream: .stderr),
    ])
  }

  /// Follows the process on two threads; `whenEnded` is called once, after what it printed was logged.
  package func follow(_ whenEnded: @escaping @Sendable (Ending) -> Void) -> Bool {
    let reads = threads.start { [self] in
      while wait(-1) { pump() }
    }
    return reads
      && threads.start { [self] in
        let ending = reap()
        pump(isLast: true)
        whenEnded(ending)
        ended.post()
      }
  }

  /// Logs what it has printed; at a call's end also the beginning of a line, which is that call's if it can be no other's.
  package func pump(endsCall: Bool = false) { pump(isLast: endsCall && invocations.isSingle) }

  /// Asks it to end, and ends it if it has not within so many milliseconds; with all it started.
  package func stop(within milliseconds: Int) {
    kill(-program.process, SIGTERM)
    _ = ended.wait(milliseconds: milliseconds)
    program.killGroup()
  }

  private func reap() -> Ending {
    var status: Int32 = 0
    while waitpid(program.process, &status, 0) < 0 {
      if errno != EINTR { return .exit(0) }
    }
    let signal = status & 0x7F
    return signal == 0 ? .exit((status >> 8) & 0xFF) : .signal(signal)
  }

  /// Waits until a pipe has something; false when both are closed.
  private func wait(_ milliseconds: Int32) -> Bool {
    var entries = pipes.withLock { pipes in
      pipes.filter(\.isOpen).map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
    }
    guard !entries.isEmpty else { return false }
    _ = poll(&entries, nfds_t(entries.count), milliseconds)
    return true
  }

  private func pump(isLast: Bool) {
    pipes.withLock { pipes in
      for index in pipes.indices { read(&pipes[index], isLast: isLast) }
    }
  }

  private func read(_ pipe: inout Pipe, isLast: Bool) {
    var space = [UInt8](repeating: 0, count: 64 * 1024)
    var pieces = 0
    while pipe.isOpen, pieces < Self.piecesMaximum {
      pieces += 1
      let count = Glibc.read(pipe.descriptor, &space, space.count)
      if count < 0, errno == EINTR { continue }
      if count <= 0 {
        if count == 0 || errno != EAGAIN { pipe.isOpen = false }
        break
      }
      pipe.line += space[..<count]
      hand(&pipe, whole: false)
    }
    if isLast || !pipe.isOpen { hand(&pipe, whole: true) }
  }

  /// Hands on the lines that are complete, and with `whole` the rest. A very long line goes on in pieces.
  private func hand(_ pipe: inout Pipe, whole: Bool) {
    var start = 0
    while start < pipe.line.count {
      let end = pipe.line[start...].firstIndex(of: 0x0A)
      guard end != nil || whole || pipe.line.count - start > Frames.frameBytes else { break }
      let line = pipe.line[start..<(end.map { $0 + 1 } ?? pipe.line.count)]
      if let owner = invocations.owner(of: line) {
        owner.write(line, to: pipe.stream)
        owner.flush()
      } else {
        Self.write(line, to: pipe.stream == .stdout ? 1 : 2)
      }
      start += line.count
    }
    pipe.line.removeFirst(start)
  }

  /// What belongs to no call is the pod's own output.
  private static func write(_ bytes: ArraySlice<UInt8>, to descriptor: Int32) {
    bytes.withUnsafeBytes { space in
      var sent = 0
      while sent < space.count {
        let count = Glibc.write(descriptor, space.baseAddress?.advanced(by: sent), space.count - sent)
        if count < 0, errno == EINTR { continue }
        if count <= 0 { return }
        sent += count
      }
    }
  }
}
