/// Builds Prometheus text (the exposition format, version 0.0.4).
package struct MetricsText {
  /// What was added so far.
  package private(set) var text = ""

  /// Nothing yet.
  package init() {}

  /// Begins a metric; its samples follow.
  package mutating func family(_ name: String, _ kind: String, _ help: String) {
    text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n"
  }

  /// One value; those of labels are escaped.
  package mutating func sample(_ name: String, _ labels: [(String, String)], _ value: Double) {
    text += name
    if !labels.isEmpty {
      text += "{" + labels.map { "\($0.0)=\"\(Self.escaped($0.1))\"" }.joined(separator: ",") + "}"
    }
    let whole = value.rounded() == value && abs(value) < 1e15
    text += whole ? " \(Int64(value))\n" : " \(value)\n"
  }

  /// A metric of one value.
  package mutating func single(_ name: String, _ kind: String, _ help: String, _ value: Double) {
    family(name, kind, help)
    sample(name, [], value)
  }

  private static func escaped(_ value: String) -> String {
    guard value.utf8.contains(where: { $0 == 34 || $0 == 92 || $0 == 10 }) else { return value }
    var out = ""
    for character in value.unicodeScalars {
      switch character {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      default: out.unicodeScalars.append(character)
      }
    }
    return out
  }
}
