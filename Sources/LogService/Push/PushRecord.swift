internal import ClusterModel
internal import LogIndex

/// A record that somebody other than a worker or gateway sends; pure.
///
/// It has no revision, pod or node, and its stream is `stdout`: what its function wrote, as far as anybody knows.
struct PushRecord {
  /// When, nanoseconds since 1970.
  var time: Int64
  /// The namespace it is kept in.
  var namespace: String
  /// The function, or the service by whatever name its sender calls it.
  var function = ""
  /// How serious it is.
  var level = LogLevel.info
  /// The call it belongs to.
  var call = ""
  /// The message.
  var message = ""
  /// Its fields in their order, each value JSON on one line.
  var fields: [(name: String, value: [UInt8])] = []

  /// Adds a field.
  mutating func add(_ name: String, _ value: JSONSlice) {
    var bytes: [UInt8] = []
    value.append(to: &bytes)
    fields.append((name, bytes))
  }

  /// Adds a field that is text.
  mutating func add(_ name: String, text: String) { fields.append((name, JSONOutput.quoted(text))) }

  /// The record's line with what is secret in it masked; throws why the store would not take it.
  mutating func line(_ masks: LogMasks) throws(PushFault) -> [UInt8] {
    // Before it is masked: what is too long anyway is not searched for secrets.
    let bytes = fields.reduce(message.utf8.count) { $0 + $1.name.utf8.count + $1.value.count }
    guard bytes <= IndexedRecord.maximumBytes else { throw PushFault(RecordFault.tooLarge(bytes: bytes)) }
    mask(masks)
    return try line()
  }

  /// Masks what is secret in the message and the fields.
  private mutating func mask(_ masks: LogMasks) {
    message = masks.masked(message)
    for index in fields.indices {
      if let value = Self.masked(fields[index].value, name: fields[index].name, masks) { fields[index].value = value }
    }
  }

  /// A field's value, masked; nil when nothing in it is secret, so that it keeps its spelling.
  private static func masked(_ value: [UInt8], name: String, _ masks: LogMasks) -> [UInt8]? {
    guard case .array(let items)? = try? JSONValue(bytes: [0x5B] + value + [0x5D]), let read = items.first else {
      // What cannot be looked into must not be kept where something in it looks like a secret.
      return value.withUnsafeBytes { masks.mayHold($0) } ? JSONOutput.quoted(LogMasks.mask) : nil
    }
    let masked = masks.masked(read, name: name)
    if masked == read { return nil }
    if case .string(let text) = masked { return JSONOutput.quoted(text) }
    return Array(masked.encoded())
  }

  /// The record as the line that is stored; throws why the store would not take it.
  func line() throws(PushFault) -> [UInt8] {
    var output: [UInt8] = []
    output.reserveCapacity(200 + message.utf8.count)
    output.append(contentsOf: "{\"time\":\"\(RecordTime.text(time))\",\"namespace\":".utf8)
    JSONOutput.append(namespace, to: &output)
    output.append(contentsOf: ",\"function\":".utf8)
    JSONOutput.append(function, to: &output)
    output.append(contentsOf: ",\"revision\":\"\",\"pod\":\"\",\"node\":\"\",\"stream\":\"stdout\",\"level\":\"".utf8)
    output.append(contentsOf: "\(level.rawValue)\",\"call\":".utf8)
    JSONOutput.append(call, to: &output)
    output.append(contentsOf: ",\"msg\":".utf8)
    JSONOutput.append(message, to: &output)
    output.append(contentsOf: ",\"fields\":{".utf8)
    for (index, field) in fields.enumerated() {
      if index > 0 { output.append(UInt8(ascii: ",")) }
      JSONOutput.append(field.name, to: &output)
      output.append(UInt8(ascii: ":"))
      output.append(contentsOf: field.value)
    }
    output.append(contentsOf: "}}".utf8)
    do throws(RecordFault) { _ = try IndexedRecord(output) } catch { throw PushFault(error) }
    return output
  }

  /// A call id as the gateway accepts one: 1 to 64 letters, digits, `.`, `_`, `:`, `-`.
  static func isCall(_ text: String) -> Bool {
    (1...64).contains(text.utf8.count)
      && text.utf8.allSatisfy { byte in
        switch byte {
        case 48...57, 65...90, 97...122, 45, 46, 58, 95: true
        default: false
        }
      }
  }
}

/// Why one record of a push is not taken; the others are.
struct PushFault: Error, Equatable, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }

  init(_ fault: RecordFault) {
    switch fault {
    case .tooLarge(let bytes): description = "\(bytes) bytes are too long; \(IndexedRecord.maximumBytes) are the most"
    case .notJSON: description = "objects and lists are too deep inside each other"
    case .noTime: description = "the time lies outside the years 1678 to 2261"
    }
  }
}
