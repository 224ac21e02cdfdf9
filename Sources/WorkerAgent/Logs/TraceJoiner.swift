import ClusterModel

/// Joins the lines of a stack trace into one record; pure.
///
/// A line that begins no trace and belongs to none passes at once: only traces wait for their next line, for
/// `TraceState.waitMilliseconds` at most. Traces of different streams and calls are told apart.
struct TraceJoiner: Sendable {
  /// Lines of one record, at most.
  static let linesMaximum = 500
  /// Bytes of one record's message, at most.
  static let bytesMaximum = 32 << 10
  /// Traces that are held at once; one more sends the oldest on its way.
  static let tracesMaximum = 64

  private struct Source: Hashable {
    var stream: LogStream
    var call: String
  }

  private struct Held {
    /// The records of its lines.
    var parts: [LogRecord]
    var state: TraceState
    /// Bytes of their messages with the newlines between them.
    var bytes: Int
    /// The time of the first.
    var time: Timestamp { parts.first?.time ?? Timestamp(nanoseconds: 0) }
    /// When the wait for the next line ends, on the monotonic clock.
    var until: Int64
  }

  private var held: [Source: Held] = [:]

  /// Whether nothing is held.
  var isEmpty: Bool { held.isEmpty }

  /// When the first wait ends, on the monotonic clock; nil when nothing is held.
  var due: Int64? { held.values.lazy.map(\.until).min() }

  /// Takes the record of a line and gives what is ready, in order. `isPlain`: it is a whole line of text.
  mutating func take(_ record: LogRecord, isPlain: Bool, uptime: Int64, _ emit: (LogRecord) -> Void) {
    let source = Source(stream: record.stream, call: record.call)
    let line = record.msg[...].utf8
    if !held.isEmpty, var trace = held.removeValue(forKey: source) {
      let bytes = trace.bytes + 1 + line.count
      if isPlain, trace.parts.count < Self.linesMaximum, bytes < Self.bytesMaximum, trace.state.take(line) {
        trace.parts.append(record)
        trace.bytes = bytes
        trace.until = uptime + trace.state.wait
        if TraceState.ends(line) { return Self.send(trace, emit) }
        held[source] = trace
        return
      }
      Self.send(trace, emit)
    }
    guard isPlain, let state = TraceState(head: line) else { return emit(record) }
    if held.count >= Self.tracesMaximum, let oldest = held.min(by: { $0.value.until < $1.value.until })?.key,
      let trace = held.removeValue(forKey: oldest)
    {
      Self.send(trace, emit)
    }
    held[source] = Held(parts: [record], state: state, bytes: line.count, until: uptime + state.wait)
  }

  /// Gives the traces whose next line did not come in time.
  mutating func flush(uptime: Int64, _ emit: (LogRecord) -> Void) { flush(emit) { $0.until <= uptime } }

  /// Gives the traces of a stream that ended; nil for every stream.
  mutating func finish(_ stream: LogStream?, _ emit: (LogRecord) -> Void) {
    flush(emit) { stream == nil || $0.parts.first?.stream == stream }
  }

  private mutating func flush(_ emit: (LogRecord) -> Void, where isReady: (Held) -> Bool) {
    let ready = held.filter { isReady($0.value) }
    for source in ready.keys { held[source] = nil }
    for trace in ready.values.sorted(by: { $0.time < $1.time }) {
      Self.send(trace, emit)
    }
  }

  /// Gives a trace as one record, at least an error, with the number of its lines; and the lines of what turned out to be
  /// none as they came.
  private static func send(_ trace: Held, _ emit: (LogRecord) -> Void) {
    guard trace.parts.count > 1, trace.state.isCertain, var record = trace.parts.first else {
      return trace.parts.forEach(emit)
    }
    record.msg = trace.parts.map(\.msg).joined(separator: "\n")
    while record.msg.utf8.last == 0x0A { record.msg.removeLast() }
    record.level = max(record.level, .error)
    record.fields["lines"] = .int(Int64(trace.parts.count))
    emit(record)
  }
}
