internal import ClusterModel
internal import LogIndex

/// What a document's field names mean in the query language; pure.
enum ElasticField: Equatable {
  /// `@timestamp`.
  case time
  /// `message`.
  case message
  /// `level` and `log.level`.
  case level
  /// `_index`: the namespace.
  case index
  /// Other fields by their names in a query. Names that records have and documents may have too are looked for as both.
  case names([String])

  /// The record's own parts that a document may have fields of the same name of.
  private static let shared: Set<String> = ["namespace", "revision", "pod", "node", "stream"]

  /// The field of a name; `.keyword` behind it means the same field.
  init(_ name: String) {
    let name = name.hasSuffix(".keyword") ? String(name.dropLast(8)) : name
    switch name {
    case "@timestamp": self = .time
    case "message": self = .message
    case "level", "log.level": self = .level
    case "_index": self = .index
    case "service.name", "service", "function": self = .names(["function"])
    case "call": self = .names(["call"])
    case "time", "msg": self = .names(["fields.\(name)"])
    default: self = .names(Self.shared.contains(name) ? [name, "fields.\(name)"] : [name])
    }
  }

  /// The one name that statistics group by or compute over.
  var column: String {
    switch self {
    case .time: "time"
    case .message: "msg"
    case .level: "level"
    case .index: "namespace"
    case .names(let names): names[0]
    }
  }

  /// A filter of this field: `match` is what stands behind the colon.
  func filter(_ match: String) -> String {
    guard case .names(let names) = self, names.count > 1 else { return "\(QueryWords.quoted(column)):\(match)" }
    return "(" + names.map { "\(QueryWords.quoted($0)):\(match)" }.joined(separator: " OR ") + ")"
  }
}

/// Texts for the query language.
enum QueryWords {
  /// A filter that every record passes.
  static let everything = "*"
  /// A filter that no record passes.
  static let nothing = "NOT *"

  /// A text in quotes.
  static func quoted(_ text: String) -> String {
    var output = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\":
        output += "\\"
        output.unicodeScalars.append(scalar)
      default: output.unicodeScalars.append(scalar)
      }
    }
    return output + "\""
  }

  /// A pattern outside quotes: `*` stays, every other character that could mean something is escaped.
  static func pattern(_ text: String) -> String {
    var output = ""
    for scalar in text.unicodeScalars {
      let isPlain =
        scalar == "*" || scalar == "_" || scalar.value >= 0x80
        || (scalar.value >= 0x30 && scalar.value <= 0x39)
        || (scalar.value | 0x20 >= 0x61 && scalar.value | 0x20 <= 0x7A && scalar.value < 0x80 && scalar.value >= 0x41)
      if !isPlain { output += "\\" }
      output.unicodeScalars.append(scalar)
    }
    return output
  }

  /// The words of a text, as an analyser cuts them: runs of letters, digits and `_`.
  static func words(_ text: String) -> [String] {
    text.unicodeScalars.split { scalar in
      scalar.value < 0x80 && !(scalar == "_" || scalar.properties.isAlphabetic || scalar.properties.numericType != nil)
    }.map { String(String.UnicodeScalarView($0)) }
  }

  /// Filters that must all hold.
  static func all(_ filters: [String]) -> String { joined(filters, " AND ", none: everything) }

  /// Filters of which one must hold.
  static func any(_ filters: [String]) -> String { joined(filters, " OR ", none: nothing) }

  /// The opposite of a filter.
  static func not(_ filter: String) -> String { filter == nothing ? everything : "NOT (\(filter))" }

  private static func joined(_ filters: [String], _ between: String, none: String) -> String {
    if filters.count < 2 { return filters.first ?? none }
    return filters.map { "(\($0))" }.joined(separator: between)
  }
}
