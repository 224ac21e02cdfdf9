import ClusterModel

/// Log records as lines for people and programs.
struct LogText {
  /// How records are written.
  enum Form: String, CaseIterable {
    case text, json, logfmt
  }

  /// How records are written.
  let form: Form
  /// Whether levels are coloured.
  let colour: Bool
  /// Whether each line names its function.
  let namesFunction: Bool
  /// Whether each line names its namespace.
  let namesNamespace: Bool
  /// The width a message is padded to, so that calls stand below each other; 0 for none.
  let width: Int

  /// A way of writing records.
  init(
    form: Form, colour: Bool = false, namesFunction: Bool = false, namesNamespace: Bool = false, width: Int = 40
  ) {
    self.form = form
    self.colour = colour
    self.namesFunction = namesFunction
    self.namesNamespace = namesNamespace
    self.width = width
  }

  /// One record's line without newline; bytes that are no record are shown as they are, made safe.
  func line(_ bytes: [UInt8], approximate: Bool = false) -> String {
    if form == .json { return String(decoding: bytes, as: UTF8.self) }
    guard let value = try? JSONValue(bytes: bytes) else { return Text.visible(String(decoding: bytes, as: UTF8.self)) }
    if let dropped = value["dropped"]?.intValue { return "… \(dropped) lines skipped: this reader was too slow" }
    if let reason = value["truncated"]?.stringValue {
      if reason == Self.unreadable { return "… some lines are missing: \(Self.lack(reason))" }
      return "… older lines are not shown: \(Self.lack(reason)); narrow it with --since or a field"
    }
    guard let record = try? value.decoded(as: LogRecord.self) else { return Text.visible(LogText.plain(value)) }
    return form == .logfmt ? logfmt(record) : text(record, approximate: approximate)
  }

  private static let unreadable = "unreadable"

  /// Why an answer is not complete.
  static func lack(_ reason: String) -> String {
    reason == unreadable
      ? "a part of the logs could not be read; the server's log names it" : "the search read its most (\(reason))"
  }

  /// `2026-11-21T02:10:04.123Z INFO  greeting name=Ada            call=0195…`
  func text(_ record: LogRecord, approximate: Bool = false) -> String {
    var head = "\(record.time.text(digits: 3)) \(level(record.level)) "
    if approximate { head += "~ " }
    if namesNamespace, !record.namespace.isEmpty { head += "\(Text.visible(record.namespace))/" }
    if namesFunction || namesNamespace {
      let source = record.function.isEmpty ? (record.node.isEmpty ? "apus" : record.node) : record.function
      head += "\(Text.visible(source)): "
    }
    // A message of several lines, such as a stack trace, goes on below its first.
    let lines = record.msg.split(separator: "\n", omittingEmptySubsequences: false)
    let below = lines.dropFirst().map { "\n    " + Text.visible(String($0)) }.joined()
    var body = Text.visible(String(lines.first ?? ""))
    let fields = LogText.pairs(record.fields)
    if !fields.isEmpty { body += (body.isEmpty ? "" : " ") + fields }
    guard !record.call.isEmpty else { return head + body + below }
    return head + Text.pad(body, width) + (Text.columns(of: body) >= width ? "  " : "")
      + "call=\(Text.visible(record.call))" + below
  }

  private func level(_ level: LogLevel) -> String {
    let word = Text.pad(level.rawValue.uppercased(), 5)
    guard colour else { return word }
    let code =
      switch level {
      case .trace, .debug: "2"
      case .info: "32"
      case .warn: "33"
      case .error, .fatal: "31"
      }
    return "\u{1B}[\(code)m\(word)\u{1B}[0m"
  }

  private func logfmt(_ record: LogRecord) -> String {
    var pairs = [("time", record.time.text(digits: 9)), ("level", record.level.rawValue)]
    let named = [
      ("namespace", record.namespace), ("function", record.function), ("revision", record.revision),
      ("pod", record.pod), ("node", record.node), ("stream", record.stream.rawValue), ("call", record.call),
      ("msg", record.msg),
    ]
    pairs += named.filter { !$0.1.isEmpty }
    let head = pairs.map { "\($0.0)=\(LogText.quotedIfNeeded($0.1))" }.joined(separator: " ")
    let own = Set(["time", "level"] + named.map(\.0))
    let tail = record.fields.keys.sorted().map { key in
      let name = own.contains(key) ? "fields.\(key)" : key
      return "\(LogText.key(name))=\(LogText.value(record.fields[key] ?? .null))"
    }
    return ([head] + tail).joined(separator: " ")
  }

  /// Fields as `key=value` with single blanks, keys sorted.
  static func pairs(_ fields: [String: JSONValue]) -> String {
    fields.keys.sorted().map { "\(key($0))=\(value(fields[$0] ?? .null))" }.joined(separator: " ")
  }

  private static func key(_ key: String) -> String {
    key.contains { $0 == " " || $0 == "=" || $0 == "\"" } ? quotedIfNeeded(key) : Text.visible(key)
  }

  private static func value(_ value: JSONValue) -> String { quotedIfNeeded(plain(value)) }

  /// A value without JSON's quotes around a string.
  static func plain(_ value: JSONValue) -> String {
    switch value {
    case .string(let text): text
    case .int(let number): String(number)
    case .double(let number): String(number)
    case .bool(let flag): String(flag)
    case .null: "null"
    case .array, .object: String(decoding: value.encoded(), as: UTF8.self)
    }
  }

  private static func quotedIfNeeded(_ text: String) -> String {
    let safe = Text.visible(text)
    guard text.isEmpty || text.contains(where: { $0 == " " || $0 == "=" || $0 == "\"" }) else { return safe }
    return "\"" + safe.replacing("\"", with: "\\\"") + "\""
  }
}

/// Statistics rows as a table.
enum LogStatsTable {
  /// The table of rows as the log service writes them: one JSON object a group.
  static func table(of rows: [[String: JSONValue]]) -> TextTable {
    var keys: Set<String> = []
    var numbers: Set<String> = []
    for row in rows {
      for (key, value) in row {
        keys.insert(key)
        switch value {
        case .int, .double: numbers.insert(key)
        default: continue
        }
      }
    }
    // The time bucket first, then what the groups are named by, then what was computed.
    let rank = { (key: String) in key == "time" || key == "bucket" ? 0 : (numbers.contains(key) ? 2 : 1) }
    let order = keys.sorted { (rank($0), $0) < (rank($1), $1) }
    return TextTable(
      columns: order.map { TextTable.Column($0.uppercased()) },
      rows: rows.map { row in order.map { key in row[key].map(cell) ?? "" } })
  }

  private static func cell(_ value: JSONValue) -> String {
    if case .double(let number) = value {
      var text = Figures.fixed(number, 3)
      while text.contains("."), text.hasSuffix("0") || text.hasSuffix(".") {
        let dot = text.hasSuffix(".")
        text.removeLast()
        if dot { break }
      }
      return text
    }
    if case .null = value { return "-" }
    // Buckets begin at whole seconds: their nine zeros only take room.
    return value.stringValue.flatMap { Timestamp($0) }?.description ?? LogText.plain(value)
  }
}
