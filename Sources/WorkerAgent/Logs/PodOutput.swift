import ClusterModel
import Synchronization

/// What one pod writes: its pipes, its lines, its last words. One for the pod's whole life, through every start.
final class PodOutput: Sendable {
  private struct State {
    var assemblers: [LogStream: LineAssembler] = [:]
    var frames = LineAssembler(limit: LineAssembler.frameBytes)
    var last = LastLines()
    var traces = TraceJoiner()
    var isHolding = false
    var lastTime: Int64 = 0
    var open: [UInt64] = []
    var openCount = 0
    var waiters: [AsyncStream<Void>.Continuation] = []
    var closed = false
  }

  /// So many nanoseconds behind the line before, the clock was put back.
  private static let clockStep: Int64 = 1_000_000_000

  private let maker: RecordMaker
  private let journal: LogJournal
  private let loop: PipeLoop
  private let key: LogJournal.Key
  private let state = Mutex(State())

  /// The output of a pod whose records `maker` makes.
  init(maker: RecordMaker, journal: LogJournal, loop: PipeLoop) {
    self.maker = maker
    self.journal = journal
    self.loop = loop
    key = journal.open(maker)
  }

  /// Begins a start: reads its pipes until they end; the descriptors are ours from now on. `frames` may be -1.
  func attach(stdout: CInt, stderr: CInt, frames: CInt) {
    let count = frames >= 0 ? 3 : 2
    state.withLock { state in
      state.last.clear()
      state.assemblers = [.stdout: LineAssembler(), .stderr: LineAssembler()]
      state.frames = LineAssembler(limit: LineAssembler.frameBytes)
      state.openCount += count
    }
    var tokens = [
      loop.add(
        stdout,
        handler {
          $0.lines($1, .stdout)
        } end: {
          $0.endOfLines(.stdout)
        }),
      loop.add(
        stderr,
        handler {
          $0.lines($1, .stderr)
        } end: {
          $0.endOfLines(.stderr)
        }),
    ]
    if frames >= 0 {
      tokens.append(
        loop.add(
          frames,
          handler {
            $0.frames($1)
          } end: {
            $0.endOfFrames()
          }))
    }
    state.withLock { $0.open = tokens }
  }

  /// The last lines written since the last start began.
  var lastLines: String { state.withLock { $0.last.text } }

  /// Waits until every pipe has ended; then everything the pod wrote is in the spool. Pipes still open after the
  /// bound (a process outside the pod holds one) are closed.
  func drained(within milliseconds: Int64) async {
    do {
      try await within(milliseconds: milliseconds) { await self.ends() }
    } catch {
      for token in state.withLock({ $0.open }) { loop.remove(token) }
      await ends()
    }
  }

  /// Waits until no pipe is open; cancellable.
  private func ends() async {
    let (ended, continuation) = AsyncStream<Void>.makeStream()
    let waits = state.withLock { state -> Bool in
      guard state.openCount > 0 else { return false }
      state.waiters.append(continuation)
      return true
    }
    guard waits else { return }
    for await _ in ended {}
  }

  /// The pod writes no more, ever.
  func finish() {
    let first = state.withLock { state in
      defer { state.closed = true }
      return !state.closed
    }
    if first { journal.close(key) }
  }

  private func handler(
    _ bytes: @escaping @Sendable (PodOutput, UnsafeRawBufferPointer) -> Void,
    end: @escaping @Sendable (PodOutput) -> Void
  ) -> PipeLoop.Handler {
    PipeLoop.Handler(bytes: { bytes(self, $0) }, end: { end(self) })
  }

  private func lines(_ bytes: UnsafeRawBufferPointer, _ stream: LogStream) {
    process { state, emit in
      var assembler = state.assemblers[stream] ?? LineAssembler()
      assembler.feed(bytes) { emit(&state, $0, $1, stream) }
      state.assemblers[stream] = assembler
    }
  }

  private func endOfLines(_ stream: LogStream) {
    process { state, emit in
      var assembler = state.assemblers[stream] ?? LineAssembler()
      assembler.finish { emit(&state, $0, $1, stream) }
      state.assemblers[stream] = assembler
    }
    send { traces, _, emit in traces.finish(stream, emit) }
    ended()
  }

  private func frames(_ bytes: UnsafeRawBufferPointer) {
    process { state, emit in
      var assembler = state.frames
      assembler.feed(bytes) { emit(&state, $0, $1, nil) }
      state.frames = assembler
    }
  }

  private func endOfFrames() {
    process { state, emit in
      var assembler = state.frames
      assembler.finish { emit(&state, $0, $1, nil) }
      state.frames = assembler
    }
    send { traces, _, emit in traces.finish(nil, emit) }
    ended()
  }

  /// Runs one chunk through: the lines it ends become records, in order, and are in the spool when this returns. Only
  /// the lines of a stack trace that is not complete are held for a moment.
  private func process(
    _ feed: (inout State, (inout State, UnsafeRawBufferPointer, Int, LogStream?) -> Void) -> Void
  ) {
    state.withLock { state in
      journal.write(key) { limiter, now in
        var records: [[UInt8]] = []
        feed(&state) { state, line, part, stream in
          if stream != nil { state.last.append(line, journal.masks) }
          guard limiter.admit(uptime: now.uptime, bytes: line.count) else { return }
          // Only now: what the limiter drops is not searched for secrets.
          let mayHold = journal.masks.mayHold(line)
          // Lines of one chunk were read at one moment; a nanosecond each keeps their order.
          state.lastTime = Self.time(now.wall.nanoseconds, after: state.lastTime)
          let time = Timestamp(nanoseconds: state.lastTime)
          var made =
            if let stream { maker.made(line: line, part: part, stream: stream, at: time) } else {
              maker.made(frame: line, part: part, at: time)
            }
          if mayHold {
            journal.masks.apply(to: &made.record)
            // A spelling could bring back what was masked.
            made.form.spellings = [:]
          }
          if stream == nil { state.last.append(made.record.msg.utf8) }
          let (form, own) = (made.form, made.record.time)
          state.traces.take(made.record, isPlain: made.isPlain, uptime: now.uptime) {
            // A trace that this line ended comes before it and has no form.
            records.append(RecordWriter.line($0, form: $0.time == own ? form : FieldForm()))
          }
        }
        return records
      }
      hold(&state)
    }
  }

  /// The time of the line after one of another time: later, but for a clock that was put back.
  static func time(_ now: Int64, after last: Int64) -> Int64 {
    last - now < clockStep ? max(now, last + 1) : now
  }

  /// Sends on traces that wait for nothing any more.
  private func send(_ flush: (inout TraceJoiner, Moment, (LogRecord) -> Void) -> Void) {
    state.withLock { state in
      guard !state.traces.isEmpty else { return }
      journal.write(key) { _, now in
        var records: [[UInt8]] = []
        flush(&state.traces, now) { records.append(RecordWriter.line($0)) }
        return records
      }
    }
  }

  /// Has the loop come back for what is held.
  private func hold(_ state: inout State) {
    guard state.traces.isEmpty == state.isHolding else { return }
    state.isHolding = !state.traces.isEmpty
    let own = ObjectIdentifier(self)
    guard state.isHolding else { return journal.release(own) }
    journal.hold(own) { [weak self] now in self?.flushDue(now) }
  }

  /// Sends on the traces whose next line did not come in time; when the next wait ends, nil when nothing is held.
  private func flushDue(_ now: Moment) -> Int64? {
    send { traces, _, emit in traces.flush(uptime: now.uptime, emit) }
    return state.withLock { state in
      if state.traces.isEmpty { state.isHolding = false }
      return state.traces.due
    }
  }

  private func ended() {
    let waiters = state.withLock { state -> [AsyncStream<Void>.Continuation] in
      state.openCount -= 1
      guard state.openCount <= 0 else { return [] }
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.finish() }
  }
}
