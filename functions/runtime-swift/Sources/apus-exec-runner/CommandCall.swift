import ApusFunction
import Glibc
import Programs

/// One call and its process: moves the body in, the answer out and standard error to the log, until the process ends,
/// the client goes or the deadline passes.
struct CommandCall {
  /// An answer up to this size is held back until the exit status is known; a larger one is streamed.
  static let heldBytes = 1024 * 1024
  static let pieceBytes = 64 * 1024
  /// How long a process may be gone while something it left behind holds its output open, in milliseconds.
  static let lingerMilliseconds: Int32 = 100

  private enum Ending { case exited(Int32), clientGone, deadline, badBody(BadRequest) }

  private let call: Call
  private let child: Program
  private var body: [UInt8] = []
  private var fed = 0  // bytes of body that the process has taken
  private var held: [UInt8] = []
  private var streaming = false
  private var inputOpen = true
  private var outputOpen = true
  private var errorsOpen = true
  private var status: Int32?

  init(call: Call, child: Program) {
    self.call = call
    self.child = child
    Sockets.nonBlocking(child.input)
    Sockets.nonBlocking(child.output)
    Sockets.nonBlocking(child.errors)
  }

  func serve() {
    var copy = self
    copy.carry()
  }

  private mutating func carry() {
    let ending = exchange()
    child.killGroup()
    if status == nil { reap(wait: true) }
    if inputOpen { close(child.input) }
    close(child.output)
    close(child.errors)
    while waitpid(-child.process, nil, WNOHANG) > 0 {}  // what the group left to us, if we are pid 1
    call.output.flush()
    switch ending {
    case .exited(let status): finish(status)
    case .clientGone:
      call.cut()
      call.output.record("warn", "client gone, command killed")
    case .deadline:
      call.cut()
      call.output.record("error", "deadline passed, command killed")
    case .badBody(let bad): streaming ? call.cut() : call.refuse(bad)
    }
  }

  private mutating func exchange() -> Ending {
    while true {
      if let bad = feed() { return bad }
      if !outputOpen, !errorsOpen || status != nil {
        if status == nil { reap(wait: false) }
        if let status { return .exited(status) }
      }
      let now = Clock.epochMilliseconds()
      if let deadline = call.deadline, now >= deadline { return .deadline }
      let events = waitForEvents(timeout: call.deadline.map { $0 - now })
      if events.gone { return .clientGone }
      if events.body, !call.receiveBody() { return .clientGone }
      if events.output, !readOutput() { return .clientGone }
      if events.errors { readErrors() }
      if !events.any {
        if status != nil {  // the process is gone and nothing came for a while: what holds the pipes is not the answer
          return .exited(status ?? 0)
        }
        reap(wait: false)
      }
    }
  }

  /// Hands the process what has arrived of the body; an ending when the body is wrong.
  private mutating func feed() -> Ending? {
    while true {
      if takesBody {
        do throws(Call.BodyError) {
          _ = try call.takeBody(into: &body)
        } catch {
          switch error {
          case .refused(let bad): return .badBody(bad)
          case .gone: return .clientGone
          }
        }
      }
      guard inputOpen else {
        (body, fed) = ([], 0)
        return nil
      }
      if fed == body.count {
        (body, fed) = ([], 0)
        if call.bodyComplete { closeInput() }
        return nil
      }
      let count = body.withUnsafeBytes { write(child.input, $0.baseAddress?.advanced(by: fed), $0.count - fed) }
      if count > 0 {
        fed += count
      } else if errno == EAGAIN {
        return nil
      } else if errno != EINTR {  // the process reads no more: the rest of the body is dropped
        closeInput()
      }
    }
  }

  /// The answer is too large to hold, but the client still sends: a client that reads only after it has sent all would
  /// wait for us as we for it. So the rest of its body is taken in first.
  private var waitsForBody: Bool { !streaming && held.count > Self.heldBytes && !call.bodyComplete }

  private var takesBody: Bool { !call.bodyComplete && (body.count - fed < Self.pieceBytes || waitsForBody) }

  private mutating func closeInput() {
    inputOpen = false
    close(child.input)
  }

  private struct Events {
    var gone = false
    var body = false
    var output = false
    var errors = false
    var any = false
  }

  private func waitForEvents(timeout: Int?) -> Events {
    let wantsBody = takesBody
    let wantsOutput = outputOpen && !waitsForBody
    var entries = [
      pollfd(fd: call.descriptor, events: Sockets.peerClosed | (wantsBody ? Int16(POLLIN) : 0), revents: 0),
      pollfd(fd: wantsOutput ? child.output : -1, events: Int16(POLLIN), revents: 0),
      pollfd(fd: errorsOpen ? child.errors : -1, events: Int16(POLLIN), revents: 0),
      pollfd(fd: inputOpen && fed < body.count ? child.input : -1, events: Int16(POLLOUT), revents: 0),
    ]
    // The end of the output is the sign that the process is done; looking for its exit is for one that left
    // something behind with the output still open.
    let bound = min(Int(Self.lingerMilliseconds), max(1, timeout ?? Int.max))
    let count = poll(&entries, nfds_t(entries.count), Int32(outputOpen || errorsOpen ? bound : min(bound, 1)))
    let hungUp = Sockets.peerClosed | Int16(POLLHUP) | Int16(POLLERR)
    let open = entries.map { $0.revents }
    return Events(
      gone: open[0] & hungUp != 0, body: wantsBody && open[0] & Int16(POLLIN) != 0, output: open[1] != 0,
      errors: open[2] != 0, any: count > 0)
  }

  /// Takes what the process wrote; false when the client has gone.
  private mutating func readOutput() -> Bool {
    var space = [UInt8](repeating: 0, count: Self.pieceBytes)
    let count = read(child.output, &space, space.count)
    guard count > 0 else {
      if count == 0 || (errno != EAGAIN && errno != EINTR) { outputOpen = false }
      return true
    }
    if !streaming {
      held += space[..<count]
      guard held.count > Self.heldBytes, call.bodyComplete else { return true }
      streaming = true
      guard (try? call.beginStream(status: 200, headers: ["Content-Type": Self.type(of: held)])) == true,
        call.writer.send(held)
      else { return false }
      held = []
      return true
    }
    return call.writer.send(Array(space[..<count]))
  }

  private mutating func readErrors() {
    var space = [UInt8](repeating: 0, count: Self.pieceBytes)
    let count = read(child.errors, &space, space.count)
    if count > 0 {
      call.output.write(space[..<count], to: .stderr)
    } else if count == 0 || (errno != EAGAIN && errno != EINTR) {
      errorsOpen = false
    }
  }

  private mutating func reap(wait: Bool) {
    var found: Int32 = 0
    var result: pid_t
    repeat { result = waitpid(child.process, &found, wait ? 0 : WNOHANG) } while result < 0 && errno == EINTR
    if result == child.process { status = found } else if result < 0 { status = 0 }
  }

  private mutating func finish(_ status: Int32) {
    drainBody()
    let signal = status & 0x7F
    let code = (status >> 8) & 0xFF
    guard signal != 0 || code != 0 else {
      if streaming { return call.finishStream() }
      let headers: Headers = held.isEmpty ? [:] : ["Content-Type": Self.type(of: held)]
      _ = try? call.answer(status: 200, headers: headers, body: held)
      return
    }
    let what = signal != 0 ? "ended by signal \(signal)" : "exit status \(code)"
    let last = call.output.lastLine(of: .stderr)
    call.fail(
      kind: signal != 0 ? "signal-\(signal)" : "exit-\(code)", message: last.isEmpty ? what : "\(what): \(last)",
      fields: ["exit": .int(Int(signal != 0 ? -signal : code))])
  }

  /// The process did not read its whole input: the rest must leave the connection before the next request.
  private mutating func drainBody() {
    var entry = pollfd(fd: call.descriptor, events: Int16(POLLIN), revents: 0)
    while !call.bodyComplete {
      body.removeAll(keepingCapacity: true)
      guard (try? call.takeBody(into: &body)) == false else { break }
      guard poll(&entry, 1, 5000) > 0, call.receiveBody() else { break }
    }
    if !call.bodyComplete { call.cut() }
  }

  private static func type(of bytes: [UInt8]) -> String {
    // A held piece may end inside a character: the last three bytes do not count.
    let sample = bytes.count > heldBytes ? bytes.dropLast(3) : bytes[...]
    let isText = !sample.contains(0) && String(validating: sample, as: UTF8.self) != nil
    let cut =
      bytes.count > heldBytes && !isText
      && (1...3).contains { drop in
        String(validating: sample.dropLast(drop), as: UTF8.self) != nil
      }
    return isText || cut ? "text/plain; charset=utf-8" : "application/octet-stream"
  }
}
