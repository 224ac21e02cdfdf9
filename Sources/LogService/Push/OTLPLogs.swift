internal import ClusterModel
internal import Foundation

/// OpenTelemetry's log records in JSON (OTLP/HTTP); pure.
///
/// `service.name` of the resource is the function, `service.namespace` the namespace; every other attribute is a field,
/// the record's before the resource's.
struct OTLPLogs {
  /// Attributes of a record with those of its resource, at most.
  static let attributesMaximum = 256

  /// The records that can be taken.
  private(set) var records: [PushRecord] = []

  /// Reads a body; throws what is wrong with it as a whole.
  init(_ body: [UInt8], now: Timestamp) throws(PushFault) {
    guard let root = JSONSlice(body), root.kind == .object else { throw PushFault("the body is not a JSON object") }
    for resource in root["resourceLogs"]?.items ?? [] {
      let attributes = Self.attributes(resource["resource"]?["attributes"])
      for scope in resource["scopeLogs"]?.items ?? [] {
        let name = scope["scope"]?["name"]?.string
        for log in scope["logRecords"]?.items ?? [] {
          guard log.kind == .object else { throw PushFault("a log record is not an object") }
          records.append(try Self.record(log, attributes, scope: name, now))
        }
      }
    }
  }

  private static func record(
    _ log: JSONSlice, _ resource: [(String, JSONSlice)], scope: String?, _ now: Timestamp
  ) throws(PushFault) -> PushRecord {
    let parts = Dictionary(log.members.map { ($0.key, $0.value) }) { _, last in last }
    var time = try time(parts["timeUnixNano"], "timeUnixNano")
    if time == nil { time = try self.time(parts["observedTimeUnixNano"], "observedTimeUnixNano") }
    var record = PushRecord(time: time ?? now.nanoseconds, namespace: "default")
    let own = attributes(parts["attributes"])
    guard own.count + resource.count <= attributesMaximum else {
      throw PushFault("a log record has more than \(attributesMaximum) attributes with those of its resource")
    }
    take(resource, into: &record, isResource: true)
    if let scope, !scope.isEmpty { record.add("scope", text: scope) }
    take(own, into: &record, isResource: false)
    level(parts, into: &record)
    for (name, key) in [("traceId", "trace_id"), ("spanId", "span_id")] {
      if let id = parts[name]?.string, !id.isEmpty { record.add(key, text: id) }
    }
    if let name = parts["eventName"]?.string, !name.isEmpty { record.add("event", text: name) }
    if let body = parts["body"] { take(body: body, into: &record) }
    return record
  }

  /// A time as a text or number of nanoseconds; 0 is none.
  private static func time(_ value: JSONSlice?, _ name: String) throws(PushFault) -> Int64? {
    guard let value, value.kind != .null else { return nil }
    guard let number = value.text.flatMap({ Int64($0) }), number >= 0 else {
      throw PushFault("\(name) is no number of nanoseconds since 1970")
    }
    return number == 0 ? nil : number
  }

  private static func level(_ parts: [String: JSONSlice], into record: inout PushRecord) {
    let text = parts["severityText"]?.string ?? ""
    let number = parts["severityNumber"]?.text.flatMap { Int($0) } ?? 0
    switch number {
    case 1...4: record.level = .trace
    case 5...8: record.level = .debug
    case 9...12: record.level = .info
    case 13...16: record.level = .warn
    case 17...20: record.level = .error
    case 21...24: record.level = .fatal
    default: record.level = LogLevel(word: text) ?? .info
    }
    if !text.isEmpty, LogLevel(word: text) != record.level { record.add("severity", text: text) }
  }

  private static func take(_ attributes: [(String, JSONSlice)], into record: inout PushRecord, isResource: Bool) {
    for (name, value) in attributes {
      let text = value["stringValue"]?.string
      if isResource, name == "service.name", let text {
        record.function = text
      } else if isResource, name == "service.namespace", let text, !text.isEmpty {
        record.namespace = text
      } else if name == "faas.invocation_id", let text, PushRecord.isCall(text) {
        record.call = text
      } else {
        record.fields.append((name, json(value)))
      }
    }
  }

  /// A text is the message; of a map `message` or `msg` is, and its other members are fields; anything else is the
  /// message as JSON.
  private static func take(body: JSONSlice, into record: inout PushRecord) {
    if let text = body["stringValue"]?.string {
      record.message = text
    } else if let map = body["kvlistValue"] {
      var named: String?
      for (name, value) in attributes(map["values"]) {
        if named == nil, name == "message" || name == "msg", let text = value["stringValue"]?.string {
          named = text
        } else {
          record.fields.append((name, json(value)))
        }
      }
      record.message = named ?? ""
    } else if !body.members.isEmpty {
      record.message = String(decoding: json(body), as: UTF8.self)
    }
  }

  private static func attributes(_ list: JSONSlice?) -> [(String, JSONSlice)] {
    (list?.items ?? []).compactMap { item in
      guard let key = item["key"]?.string, !key.isEmpty, let value = item["value"] else { return nil }
      return (key, value)
    }
  }

  /// One of OpenTelemetry's values as plain JSON on one line.
  static func json(_ value: JSONSlice) -> [UInt8] {
    guard let (kind, inner) = value.members.first else { return Array("null".utf8) }
    var output: [UInt8] = []
    switch kind {
    case "intValue":
      // 64-bit integers are texts in protobuf's JSON.
      if let text = inner.text, Int64(text) != nil { return Array(text.utf8) }
      inner.append(to: &output)
    case "arrayValue":
      output.append(UInt8(ascii: "["))
      for (index, item) in (inner["values"]?.items ?? []).enumerated() {
        if index > 0 { output.append(UInt8(ascii: ",")) }
        output.append(contentsOf: json(item))
      }
      output.append(UInt8(ascii: "]"))
    case "kvlistValue":
      output.append(UInt8(ascii: "{"))
      for (index, (key, item)) in attributes(inner["values"]).enumerated() {
        if index > 0 { output.append(UInt8(ascii: ",")) }
        JSONOutput.append(key, to: &output)
        output.append(UInt8(ascii: ":"))
        output.append(contentsOf: json(item))
      }
      output.append(UInt8(ascii: "}"))
    default: inner.append(to: &output)
    }
    return output
  }
}
