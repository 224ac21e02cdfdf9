internal import ClusterModel

/// Loki's push in JSON: streams of labels with lines; pure.
///
/// The label `namespace` (else the tenant) is the namespace; the first of `functionLabels` that is there is the
/// function; every label and every structured metadatum is a field.
struct LokiPush {
  /// Labels that name the function, the first that is there.
  static let functionLabels = ["function", "service_name", "service", "app", "container", "job"]
  /// Labels and metadata that give the level.
  static let levelLabels = ["level", "detected_level", "severity"]
  /// Labels of a stream, and metadata of a line, at most.
  static let labelsMaximum = 128

  private(set) var records: [PushRecord] = []

  /// Reads a body; throws what is wrong with it, and where.
  init(_ body: [UInt8], tenant: String?) throws(PushFault) {
    guard let root = JSONSlice(body) else { throw PushFault("the body is not JSON") }
    guard let streams = root["streams"], streams.kind == .array else {
      throw PushFault("the body has no list `streams`")
    }
    for (index, stream) in streams.items.enumerated() {
      let labels = try Self.labels(stream["stream"], "streams[\(index)].stream")
      let template = Self.template(labels, tenant: tenant)
      guard let values = stream["values"], values.kind == .array else {
        throw PushFault("streams[\(index)] has no list `values`")
      }
      for (number, value) in values.items.enumerated() {
        records.append(try Self.record(value, template, "streams[\(index)].values[\(number)]"))
      }
    }
  }

  private static func record(
    _ value: JSONSlice, _ template: PushRecord, _ place: String
  ) throws(PushFault) -> PushRecord {
    let parts = value.items
    guard parts.count == 2 || parts.count == 3, parts[0].kind == .string,
      let time = parts[0].text.flatMap({ Int64($0) })
    else { throw PushFault("\(place) is not [\"nanoseconds since 1970\", \"line\"]") }
    guard let line = parts[1].string else { throw PushFault("\(place)[1] is not a text") }
    var record = template
    record.time = time
    record.message = line
    if parts.count == 3 { take(try labels(parts[2], "\(place)[2]"), into: &record) }
    return record
  }

  private static func labels(_ value: JSONSlice?, _ place: String) throws(PushFault) -> [(String, String)] {
    guard let value else { return [] }
    guard value.kind == .object else { throw PushFault("\(place) is not an object") }
    var labels: [(String, String)] = []
    for (name, value) in value.members {
      guard let text = value.text else { throw PushFault("\(place).\(name) is not a text") }
      labels.append((name, text))
    }
    guard labels.count <= labelsMaximum else { throw PushFault("\(place) has more than \(labelsMaximum) members") }
    return labels
  }

  private static func template(_ labels: [(String, String)], tenant: String?) -> PushRecord {
    let namespace = labels.last { $0.0 == "namespace" && !$0.1.isEmpty }?.1
    var record = PushRecord(time: 0, namespace: namespace ?? tenant ?? "default")
    for name in functionLabels {
      guard let label = labels.last(where: { $0.0 == name && !$0.1.isEmpty }) else { continue }
      record.function = label.1
      break
    }
    take(labels.filter { $0.0 != "namespace" && $0.0 != "function" }, into: &record)
    return record
  }

  private static func take(_ labels: [(String, String)], into record: inout PushRecord) {
    for (name, text) in labels {
      if levelLabels.contains(name), let level = LogLevel(word: text) {
        record.level = level
        if name == "level", level.rawValue == text { continue }
      } else if name == "call", PushRecord.isCall(text) {
        record.call = text
        continue
      }
      record.add(name, text: text)
    }
  }
}
