import ClusterModel

/// Makes log records of the lines a pod wrote; pure. The rules are those of docs/logs.md:
///
/// A line that is a JSON object gives its members as fields; `level`, `severity` or `lvl` gives the level, `msg` or
/// `message` the message, and nothing else of it reaches a reserved name: a pod cannot back-date or disown a line.
/// Any other line is the message itself; standard output is info, standard error is error.
struct RecordMaker: Sendable {
  /// Fields of a record, at most.
  static let fieldsMaximum = 256
  /// Levels of nested objects that become dotted names; what lies deeper is kept as JSON.
  static let depthMaximum = 8
  /// Bytes of a finished record, at most.
  static let recordBytes = 256 << 10

  let namespace: String
  let function: String
  let revision: String
  let pod: String
  let node: String
  /// Whether `call` or `call_id` of a JSON line names its call (runtimes without our runner).
  let callInLine: Bool

  /// A record, and whether it is of a whole line of text, as those of stack traces are.
  struct Made {
    var record: LogRecord
    var isPlain = false
    /// How the line wrote its fields, beyond their values.
    var form = FieldForm()
  }

  /// A record of one line of standard output or standard error.
  func record(line: UnsafeRawBufferPointer, part: Int, stream: LogStream, at time: Timestamp) -> LogRecord {
    made(line: line, part: part, stream: stream, at: time).record
  }

  /// The same, and whether it is text.
  func made(line: UnsafeRawBufferPointer, part: Int, stream: LogStream, at time: Timestamp) -> Made {
    made(line: line, part: part, stream: stream, call: "", at: time)
  }

  /// A record of one frame of a runner: `{"call","stream","line","part"}` or
  /// `{"call","stream","level","msg","fields"}`. What is not a frame is kept as a warning with its text.
  func record(frame bytes: UnsafeRawBufferPointer, part: Int, at time: Timestamp) -> LogRecord {
    made(frame: bytes, part: part, at: time).record
  }

  /// The same, and whether it is of a line of text.
  func made(frame bytes: UnsafeRawBufferPointer, part: Int, at time: Timestamp) -> Made {
    guard part == 0, let members = JSONReader.object(bytes) else { return Made(record: strayFrame(bytes, part, time)) }
    let frame = Dictionary(members.map { ($0.key, $0.value) }) { _, last in last }
    let call = Self.call(frame["call"]) ?? ""
    let stream: LogStream = Self.text(frame["stream"]) == "stdout" ? .stdout : .stderr
    if var line = Self.text(frame["line"]) {
      let part = if case .scalar(.int(let number))? = frame["part"], number > 0 { Int(clamping: number) } else { 0 }
      return line.withUTF8 {
        made(line: UnsafeRawBufferPointer($0), part: part, stream: stream, call: call, at: time)
      }
    }
    guard let message = Self.text(frame["msg"]) else { return Made(record: strayFrame(bytes, part, time)) }
    let level = Self.text(frame["level"]).flatMap(LogLevel.init(word:)) ?? .info
    var fields = FieldCollector()
    if case .object(let given)? = frame["fields"] { fields.add(given) }
    return Made(record: make(time, stream, level, call, message, fields.fields), form: fields.form)
  }

  /// A record of the platform about this pod, such as how many lines were dropped.
  func notice(_ message: String, level: LogLevel, fields: [String: JSONValue], at time: Timestamp) -> LogRecord {
    make(time, .platform, level, "", message, fields)
  }

  private func made(
    line: UnsafeRawBufferPointer, part: Int, stream: LogStream, call: String, at time: Timestamp
  ) -> Made {
    let plainLevel: LogLevel = stream == .stderr ? .error : .info
    guard part == 0, Self.looksLikeObject(line), let members = JSONReader.object(line) else {
      let fields: [String: JSONValue] = part > 0 ? ["part": .int(Int64(part))] : [:]
      let record = make(time, stream, plainLevel, call, String(decoding: line, as: UTF8.self), fields)
      return Made(record: record, isPlain: part == 0)
    }
    var taken = TakenNames()
    let level = taken.level(members) ?? plainLevel
    let message = taken.message(members) ?? ""
    let ownCall = callInLine && call.isEmpty ? taken.call(members) : nil
    var fields = FieldCollector()
    fields.add(members, without: taken.names)
    return Made(record: make(time, stream, level, ownCall ?? call, message, fields.fields), form: fields.form)
  }

  private func strayFrame(_ bytes: UnsafeRawBufferPointer, _ part: Int, _ time: Timestamp) -> LogRecord {
    var fields: [String: JSONValue] = ["apus.frame": .string("malformed")]
    if part > 0 { fields["part"] = .int(Int64(part)) }
    let text = String(decoding: bytes.prefix(LineAssembler.lineBytes), as: UTF8.self)
    return make(time, .stderr, .warn, "", text, fields)
  }

  private func make(
    _ time: Timestamp, _ stream: LogStream, _ level: LogLevel, _ call: String, _ message: String,
    _ fields: [String: JSONValue]
  ) -> LogRecord {
    LogRecord(
      time: time, namespace: namespace, function: function, revision: revision, pod: pod, node: node, stream: stream,
      level: level, call: call, msg: message, fields: fields)
  }

  private static func looksLikeObject(_ line: UnsafeRawBufferPointer) -> Bool {
    line.first { $0 != 32 && $0 != 9 } == UInt8(ascii: "{")
  }

  static func text(_ value: LineValue?) -> String? {
    if case .scalar(.string(let text))? = value { return text }
    return nil
  }

  /// A call id as the gateway accepts one: 1 to 64 letters, digits, `.`, `_`, `:`, `-`.
  static func call(_ value: LineValue?) -> String? {
    guard let text = text(value), (1...64).contains(text.utf8.count) else { return nil }
    let allowed = text.utf8.allSatisfy { byte in
      switch byte {
      case 48...57, 65...90, 97...122, 45, 46, 58, 95: true
      default: false
      }
    }
    return allowed ? text : nil
  }
}

/// The members of a JSON line that became reserved parts of its record.
private struct TakenNames {
  private(set) var names: Set<String> = []

  mutating func level(_ members: [(key: String, value: LineValue)]) -> LogLevel? {
    for name in ["level", "severity", "lvl"] {
      guard let value = members.last(where: { $0.key == name })?.value, let level = Self.level(value) else { continue }
      names.insert(name)
      return level
    }
    return nil
  }

  mutating func message(_ members: [(key: String, value: LineValue)]) -> String? {
    for name in ["msg", "message"] {
      guard let text = RecordMaker.text(members.last(where: { $0.key == name })?.value) else { continue }
      names.insert(name)
      return text
    }
    return nil
  }

  mutating func call(_ members: [(key: String, value: LineValue)]) -> String? {
    for name in ["call", "call_id"] {
      guard let call = RecordMaker.call(members.last(where: { $0.key == name })?.value) else { continue }
      names.insert(name)
      return call
    }
    return nil
  }

  /// A word, or the numbers that pino and bunyan write.
  private static func level(_ value: LineValue) -> LogLevel? {
    switch value {
    case .scalar(.string(let word)): LogLevel(word: word)
    case .scalar(.int(10)): .trace
    case .scalar(.int(20)): .debug
    case .scalar(.int(30)): .info
    case .scalar(.int(40)): .warn
    case .scalar(.int(50)): .error
    case .scalar(.int(60)): .fatal
    default: nil
    }
  }
}

/// How a line wrote its fields, which their values do not say: their order, and the numbers that are spelled in another
/// way than their values are.
struct FieldForm: Hashable, Sendable {
  /// The names in the order of the line.
  var order: [String] = []
  /// JSON by the field's name.
  var spellings: [String: String] = [:]
}

/// Collects fields: nested objects become dotted names, within the bounds.
private struct FieldCollector {
  private static let truncated = "apus.truncated"
  private(set) var fields: [String: JSONValue] = [:]
  private(set) var form = FieldForm()
  /// Bytes of all dotted names so far, `recordBytes` at most: a long name costs its length again for each member below it.
  private var nameBytes = 0

  mutating func add(_ members: [(key: String, value: LineValue)], without taken: Set<String> = []) {
    for (key, value) in members where !taken.contains(key) { add(key, value, depth: 1) }
  }

  private mutating func add(_ name: String, _ value: LineValue, depth: Int) {
    switch value {
    case .scalar(let plain): set(name, plain)
    case .spelled(let plain, let text):
      set(name, plain)
      if fields[name] != nil { form.spellings[name] = text }
    case .object(let members):
      if members.isEmpty || depth >= RecordMaker.depthMaximum {
        set(name, .string(String(decoding: value.plain.encoded(), as: UTF8.self)))
      } else {
        for (key, member) in members {
          nameBytes += name.utf8.count + 1 + key.utf8.count
          guard nameBytes <= RecordMaker.recordBytes else {
            fields[Self.truncated] = .bool(true)
            return
          }
          add("\(name).\(key)", member, depth: depth + 1)
        }
      }
    }
  }

  private mutating func set(_ name: String, _ value: JSONValue) {
    if fields.count < RecordMaker.fieldsMaximum - 1 || fields[name] != nil {
      if fields.updateValue(value, forKey: name) == nil {
        form.order.append(name)
      } else {
        form.spellings[name] = nil
      }
    } else {
      fields[Self.truncated] = .bool(true)
    }
  }
}
