/// A label selector: `a=b,c!=d,e in (x,y),f notin (z),g,!h`; all terms must hold.
package struct LabelSelector: Hashable, Sendable {
  /// One term of a selector.
  package enum Term: Hashable, Sendable {
    case equals(String, String)
    case notEquals(String, String)
    case isIn(String, Set<String>)
    case notIn(String, Set<String>)
    case exists(String)
    case absent(String)
  }

  /// The terms, all of which must hold; none selects everything.
  package let terms: [Term]

  /// A selector that takes every object.
  package static let everything = LabelSelector(terms: [])

  /// A selector of given terms.
  package init(terms: [Term]) { self.terms = terms }

  /// Parses the query form; throws a `SelectorError` that says what could not be read.
  package init(parsing text: String) throws(SelectorError) {
    var terms: [Term] = []
    var rest = Substring(text)
    while !rest.isEmpty {
      var depth = 0
      let end = rest.firstIndex { character in
        if character == "(" { depth += 1 }
        if character == ")" { depth -= 1 }
        return character == "," && depth == 0
      }
      let part = rest[..<(end ?? rest.endIndex)]
      rest = end.map { rest[rest.index(after: $0)...] } ?? ""
      if !part.allSatisfy(\.isWhitespace) { terms.append(try Self.term(part)) }
    }
    self.terms = terms
  }

  private static func term(_ text: Substring) throws(SelectorError) -> Term {
    let text = text.trimmed
    if text.hasPrefix("!") { return .absent(String(text.dropFirst().trimmed)) }
    for (word, negated) in [(" notin ", true), (" in ", false)] {
      guard let range = text.firstRange(of: word) else { continue }
      let list = text[range.upperBound...].trimmed
      guard list.hasPrefix("("), list.hasSuffix(")") else {
        throw SelectorError("\"\(text)\": write the values of\(word)in parentheses")
      }
      let values = Set(list.dropFirst().dropLast().split(separator: ",").map { String($0.trimmed) })
      let key = String(text[..<range.lowerBound].trimmed)
      return negated ? .notIn(key, values) : .isIn(key, values)
    }
    for (sign, negated) in [("!=", true), ("==", false), ("=", false)] {
      guard let range = text.firstRange(of: sign) else { continue }
      let key = String(text[..<range.lowerBound].trimmed)
      let value = String(text[range.upperBound...].trimmed)
      guard !key.isEmpty else { throw SelectorError("\"\(text)\": a key is missing before \(sign)") }
      return negated ? .notEquals(key, value) : .equals(key, value)
    }
    guard text.allSatisfy({ $0.isLetter || $0.isNumber || "-_./".contains($0) }) else {
      throw SelectorError("\"\(text)\" is not a selector term; use key=value, key!=value, key in (a,b), key or !key")
    }
    return .exists(String(text))
  }

  /// Whether labels satisfy every term.
  package func matches(_ labels: [String: String]) -> Bool {
    terms.allSatisfy { term in
      switch term {
      case .equals(let key, let value): labels[key] == value
      case .notEquals(let key, let value): labels[key] != value
      case .isIn(let key, let values): labels[key].map(values.contains) ?? false
      case .notIn(let key, let values): !(labels[key].map(values.contains) ?? false)
      case .exists(let key): labels[key] != nil
      case .absent(let key): labels[key] == nil
      }
    }
  }
}

/// A field selector: `metadata.name=x,status.phase!=Running`; all terms must hold.
package struct FieldSelector: Hashable, Sendable {
  /// One comparison of the text at a path.
  package struct Term: Hashable, Sendable {
    /// The dotted path.
    package let path: String
    /// The text compared with.
    package let value: String
    /// Whether the text must differ.
    package let negated: Bool

    /// A comparison.
    package init(path: String, value: String, negated: Bool = false) {
      self.path = path
      self.value = value
      self.negated = negated
    }
  }

  /// The terms, all of which must hold.
  package let terms: [Term]

  /// A selector that takes every object.
  package static let everything = FieldSelector(terms: [])

  /// Whether an object of a name may be taken, as far as the name tells: others need not be read.
  package func mayTake(name: String) -> Bool {
    terms.allSatisfy { $0.path != "metadata.name" || ($0.value == name) != $0.negated }
  }

  /// A selector of given terms.
  package init(terms: [Term]) { self.terms = terms }

  /// Parses the query form and refuses paths that are not in `supported`.
  package init(parsing text: String, supported: Set<String>) throws(SelectorError) {
    var terms: [Term] = []
    for part in text.split(separator: ",") {
      let sign = ["!=", "==", "="].first { part.firstRange(of: $0) != nil }
      guard let sign, let range = part.firstRange(of: sign) else {
        throw SelectorError("\"\(part)\" is not a field selector; use path=value")
      }
      let path = String(part[..<range.lowerBound].trimmed)
      guard supported.contains(path) else {
        let known = supported.sorted().joined(separator: ", ")
        throw SelectorError("field selector \"\(path)\" is not supported; supported here: \(known)")
      }
      terms.append(Term(path: path, value: String(part[range.upperBound...].trimmed), negated: sign == "!="))
    }
    self.terms = terms
  }

  /// Whether an object satisfies every term; a missing field counts as the empty text.
  package func matches(_ object: JSONValue) -> Bool {
    terms.allSatisfy { term in
      let text =
        switch object.at(path: term.path) {
        case .string(let value): value
        case .int(let value): String(value)
        case .bool(let value): String(value)
        default: ""
        }
      return (text == term.value) != term.negated
    }
  }
}

/// A selector that could not be read; `description` says what and how to write it.
package struct SelectorError: Error, CustomStringConvertible {
  /// The explanation.
  package let description: String
  /// An error with its explanation.
  package init(_ description: String) { self.description = description }
}

extension Substring {
  fileprivate var trimmed: Substring {
    var text = self
    while text.first?.isWhitespace == true { text = text.dropFirst() }
    while text.last?.isWhitespace == true { text = text.dropLast() }
    return text
  }
}
