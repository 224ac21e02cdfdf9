internal import ClusterModel
internal import LogIndex

/// Documents as records, and back; pure.
///
/// A document comes back as it was sent: what became a part of the record (`@timestamp`, `message`, `level`, `function`)
/// is put back from there, and what the record cannot spell the same way stays among its fields.
enum ElasticDocument {
  /// The record of a document sent to an index, which is its namespace. `id` is what the sender calls it.
  static func record(
    _ document: JSONSlice, index: String, id: String?, now: Int64
  ) throws(ElasticError) -> PushRecord {
    guard document.kind == .object else {
      throw ElasticError(400, "document_parsing_exception", "a document is a JSON object")
    }
    let members = document.members
    var record = PushRecord(time: now, namespace: index)
    var names = Dictionary(members.map { ($0.key, $0.value) }) { _, last in last }
    if let given = names["@timestamp"], given.kind != .null {
      record.time = try time(given, now: now)
      if given.string == ElasticTime.text(record.time) { names["@timestamp"] = nil }
    }
    if let message = names["message"]?.string, !message.isEmpty {
      record.message = message
      names["message"] = nil
    }
    if let word = names["level"]?.string, let level = LogLevel(word: word) {
      record.level = level
      if word == level.rawValue { names["level"] = nil }
    } else if let word = (names["log.level"] ?? names["log"]?["level"])?.string, let level = LogLevel(word: word) {
      record.level = level
    }
    if let service = (names["service.name"] ?? names["service"]?["name"] ?? names["service"])?.string, !service.isEmpty
    {
      record.function = service
    } else if let function = names["function"]?.string, !function.isEmpty {
      record.function = function
      names["function"] = nil
    }
    if let call = names["call"]?.string, PushRecord.isCall(call) {
      record.call = call
      names["call"] = nil
    }
    if let id { record.add("_id", text: id) }
    for (name, value) in members where names[name] == value && !name.isEmpty {
      guard name != "_id" else { continue }
      record.add(name, value)
      names[name] = nil
    }
    return record
  }

  private static func time(_ given: JSONSlice, now: Int64) throws(ElasticError) -> Int64 {
    let value = try? JSONValue(bytes: given.bytes)
    guard let time = value.flatMap({ ElasticTime.parse($0, now: now) }) else {
      let text = String(decoding: given.bytes.prefix(100), as: UTF8.self)
      throw ElasticError(
        400, "document_parsing_exception",
        "failed to parse field [@timestamp] of type [date]: \(text); write 2026-11-22T08:00:00.123Z or milliseconds "
          + "since 1970")
    }
    return time
  }

  /// What a record is as a document.
  struct Hit {
    /// The namespace.
    var index: String
    /// The id its sender gave it, if any.
    var id: String?
    /// The document, one JSON object on one line.
    var source: [UInt8]
  }

  /// The document of a stored record.
  static func hit(_ line: [UInt8], time: Int64) -> Hit? {
    guard let record = JSONSlice(line), record.kind == .object else { return nil }
    let parts = Dictionary(record.members.map { ($0.key, $0.value) }) { _, last in last }
    let fields = parts["fields"]?.members ?? []
    let own = Set(fields.map(\.key))
    func text(_ name: String) -> String { parts[name]?.string ?? "" }
    var output: [UInt8] = [UInt8(ascii: "{")]
    func put(_ name: String, _ value: [UInt8]) {
      if output.count > 1 { output.append(UInt8(ascii: ",")) }
      JSONOutput.append(name, to: &output)
      output.append(UInt8(ascii: ":"))
      output.append(contentsOf: value)
    }
    func put(_ name: String, _ text: String) {
      if !text.isEmpty, !own.contains(name) { put(name, JSONOutput.quoted(text)) }
    }
    put("@timestamp", ElasticTime.text(time))
    put("message", text("msg"))
    put("level", text("level"))
    if text("pod").isEmpty, text("stream") == "stdout" {
      if !own.contains("service"), !own.contains("service.name") { put("function", text("function")) }
    } else {
      for name in ["namespace", "function", "revision", "pod", "node", "stream"] { put(name, text(name)) }
    }
    put("call", text("call"))
    var id: String?
    for (name, value) in fields {
      if name == "_id" {
        id = value.string
        continue
      }
      var bytes: [UInt8] = []
      value.append(to: &bytes)
      put(name, bytes)
    }
    output.append(UInt8(ascii: "}"))
    return Hit(index: text("namespace"), id: id, source: output)
  }
}

/// Which members of documents an answer has: `_source` of a request.
struct ElasticSource: Equatable {
  /// Whether there is any.
  var isWanted = true
  /// Names and patterns of what is shown; empty for all.
  var includes: [String] = []
  /// Names and patterns of what is not.
  var excludes: [String] = []

  init() {}

  init(_ value: JSONValue?) throws(ElasticError) {
    func names(_ value: JSONValue?) -> [String] {
      (value?.arrayValue ?? value.map { [$0] } ?? []).compactMap(\.stringValue)
    }
    switch value {
    case nil, .bool(true): break
    case .bool(false): isWanted = false
    case .string, .array: includes = names(value)
    case .object:
      includes = names(value?["includes"] ?? value?["include"])
      excludes = names(value?["excludes"] ?? value?["exclude"])
    default: throw .parsing("[_source] is true, false, names, or includes and excludes")
    }
  }

  /// Whether documents are shown whole.
  var isWhole: Bool { includes.isEmpty && excludes.isEmpty }

  /// A document cut down.
  func cut(_ source: [UInt8]) -> [UInt8] {
    guard !isWhole, let value = try? JSONValue(bytes: source) else { return source }
    return Array((cut(value, path: "") ?? .object([:])).encoded())
  }

  private func cut(_ value: JSONValue, path: String) -> JSONValue? {
    if !path.isEmpty {
      if excludes.contains(where: { Self.matches(path, $0) }) { return nil }
      if includes.contains(where: { Self.matches(path, $0) }), excludes.isEmpty { return value }
    }
    guard case .object(let members) = value else {
      return includes.isEmpty || includes.contains(where: { Self.matches(path, $0) }) ? value : nil
    }
    let isShown = path.isEmpty ? false : includes.contains { Self.matches(path, $0) }
    var kept: [String: JSONValue] = [:]
    for (name, member) in members {
      let below = path.isEmpty ? name : path + "." + name
      if let left = isShown ? withoutExcluded(member, below) : cut(member, path: below) { kept[name] = left }
    }
    return kept.isEmpty && !path.isEmpty && !members.isEmpty ? nil : .object(kept)
  }

  private func withoutExcluded(_ value: JSONValue, _ path: String) -> JSONValue? {
    if excludes.contains(where: { Self.matches(path, $0) }) { return nil }
    guard case .object(let members) = value else { return value }
    var kept: [String: JSONValue] = [:]
    for (name, member) in members { kept[name] = withoutExcluded(member, path + "." + name) }
    return .object(kept)
  }

  /// Whether a name matches a pattern with `*`.
  static func matches(_ name: String, _ pattern: String) -> Bool {
    let parts = pattern.split(separator: "*", omittingEmptySubsequences: false)
    guard parts.count > 1, let head = parts.first, let tail = parts.last else { return name == pattern }
    guard name.utf8.count >= head.utf8.count + tail.utf8.count, name.hasPrefix(head), name.hasSuffix(tail) else {
      return false
    }
    var rest = name.dropFirst(head.count).dropLast(tail.count)
    for part in parts.dropFirst().dropLast() where !part.isEmpty {
      guard let found = rest.firstRange(of: part) else { return false }
      rest = rest[found.upperBound...]
    }
    return true
  }
}
