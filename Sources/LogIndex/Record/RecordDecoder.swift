/// Walks one record and notes where its reserved values and the user's fields lie.
struct RecordDecoder {
  private(set) var reserved: [(ReservedField, JSONSpan)] = []
  private(set) var fields: [IndexedRecord.UserField] = []
  private let bytes: [UInt8]

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    reserved.reserveCapacity(10)
  }

  /// Reads the whole record; keys that are neither reserved nor `fields` are kept in the bytes but not searched.
  mutating func run() throws(RecordFault) {
    var scanner = JSONScanner(bytes)
    scanner.skipBlanks()
    try scanner.object { (scanner, key) throws(RecordFault) in
      if isFields(key), scanner.isAtObject {
        fields = []
        try self.object(&scanner, prefix: nil, depth: 1)
      } else {
        let value = try scanner.value(depth: 1)
        if let field = reservedField(key) { reserved.append((field, value)) }
      }
    }
    scanner.skipBlanks()
    guard scanner.isAtEnd else { throw scanner.fault }
  }

  private mutating func object(_ scanner: inout JSONScanner, prefix: [UInt8]?, depth: Int) throws(RecordFault) {
    try scanner.object { (scanner, key) throws(RecordFault) in
      var joined: [UInt8]?
      if prefix != nil || key.kind == .escaped || scanner.isAtObject { joined = join(prefix, key) }
      if scanner.isAtObject, depth < IndexedRecord.flattenDepth {
        try self.object(&scanner, prefix: joined, depth: depth + 1)
      } else {
        let value = try scanner.value(depth: depth + 1)
        fields.append(IndexedRecord.UserField(key: key, joinedKey: joined, value: value))
      }
    }
  }

  private func join(_ prefix: [UInt8]?, _ key: JSONSpan) -> [UInt8] {
    let raw = bytes[key.start..<key.end]
    let name = key.kind == .escaped ? JSONText.unescaped(raw) : Array(raw)
    guard let prefix else { return name }
    return prefix + [0x2E] + name
  }

  private func isFields(_ key: JSONSpan) -> Bool { key.end - key.start == 6 && spells(key, "fields") }

  private func reservedField(_ key: JSONSpan) -> ReservedField? {
    let candidates: [ReservedField]
    switch key.end - key.start {
    case 3: candidates = Self.three
    case 4: candidates = Self.four
    case 5: candidates = Self.five
    case 6: candidates = Self.six
    case 8: candidates = Self.eight
    case 9: candidates = Self.nine
    default: return nil
    }
    return candidates.first { spells(key, $0.rawValue) }
  }

  private static let three: [ReservedField] = [.msg, .pod]
  private static let four: [ReservedField] = [.time, .call, .node]
  private static let five: [ReservedField] = [.level]
  private static let six: [ReservedField] = [.stream]
  private static let eight: [ReservedField] = [.function, .revision]
  private static let nine: [ReservedField] = [.namespace]

  private func spells(_ key: JSONSpan, _ name: String) -> Bool {
    var index = key.start
    for byte in name.utf8 {
      if index >= key.end || bytes[index] != byte { return false }
      index += 1
    }
    return index == key.end
  }
}
