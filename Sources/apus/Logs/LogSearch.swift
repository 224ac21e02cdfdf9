import ClusterModel

/// What a person asked of the logs, and the query it becomes.
struct LogSearch: Hashable {
  /// The function, when the first word named one.
  var function: String?
  /// The query words, joined by blanks.
  var query: String
  /// A call id.
  var call: String?
  /// The lowest level wanted.
  var level: LogLevel?
  /// Whether the platform's records about a function stand among its own lines.
  var platform = true

  /// Splits the words after `apus logs`: the first is a function's name when it could be one, the rest is the query.
  init(words: [String], call: String? = nil, level: LogLevel? = nil) {
    self.call = call
    self.level = level
    if let first = words.first, LogSearch.isName(first) {
      function = first
      query = words.dropFirst().joined(separator: " ")
    } else {
      query = words.joined(separator: " ")
    }
  }

  /// Whether a word can only be read as a function's name: a DNS label that starts with a letter.
  static func isName(_ word: String) -> Bool { Schema.Rule.functionName.check(word) == nil }

  /// The text for the query parser; what comes after a pipe in the words stays after it.
  var text: String {
    var (filter, pipes) = LogSearch.split(query)
    var terms: [String] = []
    if let function { terms.append("function:\(function)") }
    // A function's name alone asks for what it wrote; a query or a call says itself what it wants.
    if !platform, function != nil, query.isEmpty, call == nil { terms.append("(stream:stdout OR stream:stderr)") }
    if let call { terms.append("call:\(LogSearch.quoted(call))") }
    if let level, level > .trace {
      let words = LogLevel.allCases.filter { $0 >= level }.map { "level:\($0.rawValue)" }
      terms.append(words.count == 1 ? words[0] : "(\(words.joined(separator: " OR ")))")
    }
    filter = filter.isEmpty || terms.isEmpty ? filter : "(\(filter))"
    if !filter.isEmpty { terms.append(filter) }
    return terms.joined(separator: " AND ") + pipes
  }

  /// A text in quotes for the query language.
  static func quoted(_ text: String) -> String {
    "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
  }

  /// The filter without blanks around it, and everything from the first pipe outside quotes on (with a blank before).
  private static func split(_ query: String) -> (String, String) {
    var quoted = false
    var escaped = false
    var end = query.endIndex
    for index in query.indices {
      let character = query[index]
      if escaped {
        escaped = false
      } else if character == "\\" {
        escaped = true
      } else if character == "\"" {
        quoted.toggle()
      } else if character == "|", !quoted {
        end = index
        break
      }
    }
    var filter = query[..<end]
    while filter.last == " " { filter.removeLast() }
    while filter.first == " " { filter.removeFirst() }
    return (String(filter), end == query.endIndex ? "" : " " + query[end...])
  }
}

/// A moment as people give it: a span before now (`1h`), or an RFC 3339 time.
enum Moment {
  /// The moment a text means; nil when it is neither.
  static func parse(_ text: String, now: Timestamp) -> Timestamp? {
    if let span = TimeSpan(text) { return now.advanced(milliseconds: -span.milliseconds) }
    if let time = Timestamp(text) { return time }
    // A day alone, or a time without a zone, is taken as UTC, as every time on screen is.
    return Timestamp(text + "T00:00:00Z") ?? Timestamp(text + "Z")
  }
}
