import ClusterModel

/// A JSON value as YAML that every YAML reader takes back to the same value.
enum YAMLText {
  /// The members of an object that stand first, in this order; the others follow sorted.
  private static let first = ["apiVersion", "kind", "metadata", "name", "namespace", "spec", "status"]

  /// A document, with a last newline.
  static func document(_ value: JSONValue) -> String {
    switch value {
    case .object(let members) where !members.isEmpty: object(members, indent: 0)
    case .array(let elements) where !elements.isEmpty: array(elements, indent: 0)
    default: scalar(value) + "\n"
    }
  }

  private static func object(_ members: [String: JSONValue], indent: Int) -> String {
    // The order of a whole object's parts; further down only the name stands first.
    let first = indent == 0 ? Self.first : ["name", "namespace"]
    let rank = { (key: String) in first.firstIndex(of: key) ?? first.count }
    let keys = members.keys.sorted { (rank($0), $0) < (rank($1), $1) }
    return keys.map { key in
      String(repeating: " ", count: indent) + (isPlain(key) ? key : quoted(key)) + ":"
        + nested(members[key] ?? .null, indent: indent)
    }.joined()
  }

  private static func array(_ elements: [JSONValue], indent: Int) -> String {
    elements.map { element in
      let margin = String(repeating: " ", count: indent)
      switch element {
      case .object(let members) where !members.isEmpty:
        return margin + "- " + object(members, indent: indent + 2).dropFirst(indent + 2)
      case .array(let inner) where !inner.isEmpty:
        return margin + "- " + array(inner, indent: indent + 2).dropFirst(indent + 2)
      default: return margin + "- " + scalar(element, indent: indent) + "\n"
      }
    }.joined()
  }

  /// What follows `key:`, up to and with the newline. Lists stand at their key's own indent, as kubectl writes them.
  private static func nested(_ value: JSONValue, indent: Int) -> String {
    switch value {
    case .object(let members) where !members.isEmpty: "\n" + object(members, indent: indent + 2)
    case .array(let elements) where !elements.isEmpty: "\n" + array(elements, indent: indent)
    default: " " + scalar(value, indent: indent) + "\n"
    }
  }

  private static func scalar(_ value: JSONValue, indent: Int = 0) -> String {
    switch value {
    case .null: "null"
    case .bool(let value): value ? "true" : "false"
    case .int(let value): String(value)
    case .double(let value): String(value)
    case .string(let text): self.text(text, indent: indent)
    case .array: "[]"
    case .object: "{}"
    }
  }

  /// Text plain where no reader could take it for anything else, a block for lines, else in double quotes.
  private static func text(_ text: String, indent: Int) -> String {
    if isPlain(text) { return text }
    if isBlock(text) {
      let margin = String(repeating: " ", count: indent + 2)
      let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
      let chomp = text.hasSuffix("\n") ? "|" : "|-"
      let body = (text.hasSuffix("\n") ? lines.dropLast() : lines[...]).map { $0.isEmpty ? "" : margin + $0 }
      return chomp + "\n" + body.joined(separator: "\n")
    }
    return quoted(text)
  }

  private static func isPlain(_ text: String) -> Bool {
    guard let start = text.utf8.first, let end = text.utf8.last, text.utf8.count <= 200 else { return false }
    let word = text.lowercased()
    if ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"].contains(word) { return false }
    let letter = { (byte: UInt8) in (byte >= 65 && byte <= 90) || (byte >= 97 && byte <= 122) }
    let digit = start >= 48 && start <= 57
    guard letter(start) || start == 47 || (digit && !couldBeNumber(text)), end != 58, end != 32 else { return false }
    if word == "inf" || word == "nan" { return false }
    var before: UInt8 = 0
    for byte in text.utf8 {
      let allowed = byte >= 32 && byte < 127 && byte != 34 && byte != 39 && byte != 92 && byte != 96
      if !allowed || (before == 58 && byte == 32) || (before == 32 && byte == 35) { return false }
      if [91, 93, 123, 125].contains(byte) { return false }
      before = byte
    }
    return true
  }

  /// Whether some reader could take text that starts with a digit for a number or a time: `1e5`, `0x1F`, `2026-11-21…`.
  private static func couldBeNumber(_ text: String) -> Bool {
    if text.hasPrefix("0x") || text.hasPrefix("0o") || text.hasPrefix("0b") { return true }
    let bytes = Array(text.utf8)
    if bytes.count > 4, bytes[4] == 45 { return true }
    return !bytes.contains { byte in
      let lower = byte | 32
      return lower >= 97 && lower <= 122 && lower != 101
    }
  }

  private static func isBlock(_ text: String) -> Bool {
    guard text.contains("\n"), !text.hasPrefix(" "), !text.hasPrefix("\n"), !text.hasSuffix("\n\n") else {
      return false
    }
    return text.unicodeScalars.allSatisfy { $0 == "\n" || ($0.value >= 32 && $0.value != 127 && $0.value < 0xD800) }
      && !text.split(separator: "\n").contains { $0.last == " " || $0.first == " " && $0.allSatisfy { $0 == " " } }
  }

  private static func quoted(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": quoted += "\\\""
      case "\\": quoted += "\\\\"
      case "\n": quoted += "\\n"
      case "\r": quoted += "\\r"
      case "\t": quoted += "\\t"
      default:
        if scalar.value < 32 || (scalar.value >= 127 && scalar.value < 160) || scalar.value == 0xFEFF
          || scalar.value == 0x2028 || scalar.value == 0x2029
        {
          let hex = String(scalar.value, radix: 16)
          quoted += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
        } else {
          quoted.unicodeScalars.append(scalar)
        }
      }
    }
    return quoted + "\""
  }
}
