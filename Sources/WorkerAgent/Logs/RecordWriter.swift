import ClusterModel

/// Writes a record as the one NDJSON line that is spooled and shipped; bounded by `RecordMaker.recordBytes`.
enum RecordWriter {
  /// The record's line without its end. Too large a record loses its fields, then the end of its message, and says so.
  /// Fields stand in the order and spelling of `form`, others behind them by name.
  static func line(_ record: LogRecord, form: FieldForm = FieldForm()) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(256 + record.msg.utf8.count)
    write(record, form, into: &bytes)
    guard bytes.count > RecordMaker.recordBytes else { return bytes }
    var shorter = record
    shorter.fields = ["apus.truncated": .bool(true)]
    if let part = record.fields["part"] { shorter.fields["part"] = part }
    bytes.removeAll(keepingCapacity: true)
    write(shorter, FieldForm(), into: &bytes)
    guard bytes.count > RecordMaker.recordBytes else { return bytes }
    // JSON makes at most six bytes of one.
    let room = RecordMaker.recordBytes / 6 - 1024
    shorter.msg = String(decoding: record.msg.utf8.prefix(room), as: UTF8.self)
    bytes.removeAll(keepingCapacity: true)
    write(shorter, FieldForm(), into: &bytes)
    return bytes
  }

  private static func write(_ record: LogRecord, _ form: FieldForm, into bytes: inout [UInt8]) {
    bytes.append(contentsOf: #"{"time":""#.utf8)
    bytes.append(contentsOf: record.time.text(digits: 9).utf8)
    bytes.append(UInt8(ascii: "\""))
    member("namespace", record.namespace, &bytes)
    member("function", record.function, &bytes)
    member("revision", record.revision, &bytes)
    member("pod", record.pod, &bytes)
    member("node", record.node, &bytes)
    member("stream", record.stream.rawValue, &bytes)
    member("level", record.level.rawValue, &bytes)
    member("call", record.call, &bytes)
    member("msg", record.msg, &bytes)
    bytes.append(contentsOf: #","fields":"#.utf8)
    if form.order.isEmpty {
      write(.object(record.fields), into: &bytes)
    } else {
      write(fields: record.fields, form, into: &bytes)
    }
    bytes.append(UInt8(ascii: "}"))
  }

  private static func write(fields: [String: JSONValue], _ form: FieldForm, into bytes: inout [UInt8]) {
    var names = form.order
    if names.count < fields.count { names += Set(fields.keys).subtracting(names).sorted() }
    bytes.append(UInt8(ascii: "{"))
    var isFirst = true
    for name in names {
      guard let value = fields[name] else { continue }
      if !isFirst { bytes.append(UInt8(ascii: ",")) }
      isFirst = false
      write(text: name, into: &bytes)
      bytes.append(UInt8(ascii: ":"))
      if let spelling = form.spellings[name] {
        bytes.append(contentsOf: spelling.utf8)
      } else {
        write(value, into: &bytes)
      }
    }
    bytes.append(UInt8(ascii: "}"))
  }

  private static func member(_ name: StaticString, _ value: String, _ bytes: inout [UInt8]) {
    bytes.append(contentsOf: [UInt8(ascii: ","), UInt8(ascii: "\"")])
    name.withUTF8Buffer { bytes.append(contentsOf: $0) }
    bytes.append(contentsOf: [UInt8(ascii: "\""), UInt8(ascii: ":")])
    write(text: value, into: &bytes)
  }

  private static func write(_ value: JSONValue, into bytes: inout [UInt8]) {
    switch value {
    case .null: bytes.append(contentsOf: "null".utf8)
    case .bool(let flag): bytes.append(contentsOf: (flag ? "true" : "false").utf8)
    case .int(let number): bytes.append(contentsOf: String(number).utf8)
    case .double(let number): bytes.append(contentsOf: (number.isFinite ? String(number) : "null").utf8)
    case .string(let text): write(text: text, into: &bytes)
    case .array(let items):
      bytes.append(UInt8(ascii: "["))
      for (index, item) in items.enumerated() {
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
        write(item, into: &bytes)
      }
      bytes.append(UInt8(ascii: "]"))
    case .object(let members):
      bytes.append(UInt8(ascii: "{"))
      for (index, key) in members.keys.sorted().enumerated() {
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
        write(text: key, into: &bytes)
        bytes.append(UInt8(ascii: ":"))
        write(members[key] ?? .null, into: &bytes)
      }
      bytes.append(UInt8(ascii: "}"))
    }
  }

  private static func write(text: String, into bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "\""))
    var text = text
    text.withUTF8 { buffer in
      var clean = 0
      for index in buffer.indices {
        let byte = buffer[index]
        guard byte < 32 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte == 127 else { continue }
        bytes.append(contentsOf: buffer[clean..<index])
        clean = index + 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(contentsOf: [UInt8(ascii: "\\"), byte])
        case 10: bytes.append(contentsOf: #"\n"#.utf8)
        case 13: bytes.append(contentsOf: #"\r"#.utf8)
        case 9: bytes.append(contentsOf: #"\t"#.utf8)
        default:
          bytes.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "u"), 48, 48, hex(byte >> 4), hex(byte & 15)])
        }
      }
      bytes.append(contentsOf: buffer[clean...])
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private static func hex(_ nibble: UInt8) -> UInt8 { nibble < 10 ? 48 + nibble : 87 + nibble }
}
