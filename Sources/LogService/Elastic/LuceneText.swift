internal import ClusterModel
internal import LogIndex

/// Reads the text of a `query_string` (Lucene's language) and writes it in ours.
///
/// Clauses stand behind each other or between AND, OR, NOT, `+` and `-`; fields, groups, phrases, patterns, ranges and
/// comparisons. Words without a field search the message. Boosts are read and mean nothing: logs are ordered by time.
struct LuceneText {
  /// Parentheses and negations inside each other, at most.
  static let depthMaximum = 32
  /// Bytes of a text, at most: as many as the query language takes.
  static let bytesMaximum = LogQuery.bytesMaximum

  private enum Kind { case optional, required, prohibited }

  private let text: [Character]
  private let fields: [String]
  private let isAnd: Bool
  private let query: ElasticQuery
  private var index = 0
  private var depth = 0

  init(_ text: String, fields: [String], isAnd: Bool, query: ElasticQuery) {
    self.text = Array(text)
    self.fields = fields
    self.isAnd = isAnd
    self.query = query
  }

  /// The filter; an empty text is none of the records, as Elasticsearch has it.
  mutating func filter() throws(ElasticError) -> String {
    skipSpace()
    if isAtEnd { return QueryWords.nothing }
    let filter = try or(nil)
    skipSpace()
    guard isAtEnd else { throw fault("`\(text[index])` that means nothing here; quote it to search for it") }
    return filter
  }

  // MARK: Operators

  private mutating func or(_ field: String?) throws(ElasticError) -> String {
    try descend()
    defer { depth -= 1 }
    var choices = [try run(field)]
    while takeOperator("OR") || takeOperator("||") { choices.append(try run(field)) }
    return QueryWords.any(choices)
  }

  private mutating func descend() throws(ElasticError) {
    depth += 1
    guard depth <= Self.depthMaximum else {
      throw fault("more than \(Self.depthMaximum) parentheses or negations inside each other")
    }
  }

  /// Clauses behind each other: with the operator OR those with `+` must hold, else one of the others.
  private mutating func run(_ field: String?) throws(ElasticError) -> String {
    var optional: [String] = []
    var required: [String] = []
    var isDemanding = false
    while true {
      let (kind, filter) = try and(field)
      switch kind {
      case .optional: optional.append(filter)
      case .required:
        required.append(filter)
        isDemanding = true
      case .prohibited: required.append(filter)
      }
      skipSpace()
      if isAtEnd || current == ")" || isOperator("OR") || isOperator("||") { break }
    }
    if isAnd { return QueryWords.all(optional + required) }
    // What is only wished for orders Elasticsearch's answers and excludes nothing where something is demanded.
    if isDemanding || optional.isEmpty { return QueryWords.all(required) }
    return QueryWords.all([QueryWords.any(optional)] + required)
  }

  private mutating func and(_ field: String?) throws(ElasticError) -> (Kind, String) {
    let (kind, first) = try clause(field)
    var parts = [first]
    while takeOperator("AND") || takeOperator("&&") { parts.append(try clause(field).1) }
    return parts.count > 1 ? (.optional, QueryWords.all(parts)) : (kind, first)
  }

  private mutating func clause(_ field: String?) throws(ElasticError) -> (Kind, String) {
    skipSpace()
    if takeOperator("NOT") || takeOperator("!") || takeSign("-") {
      try descend()
      defer { depth -= 1 }
      return (.prohibited, QueryWords.not(try clause(field).1))
    }
    if takeSign("+") { return (.required, try term(field)) }
    return (.optional, try term(field))
  }

  // MARK: Terms

  private mutating func term(_ field: String?) throws(ElasticError) -> String {
    skipSpace()
    guard let first = current else { throw fault("a term is missing at the end") }
    if first == "(" {
      index += 1
      let filter = try or(field)
      skipSpace()
      guard current == ")" else { throw fault("`(` without `)`") }
      index += 1
      skipSuffix()
      return filter
    }
    if first == "\"" {
      let phrase = try quoted()
      skipSuffix()
      return try each(field) { field, query throws(ElasticError) in
        try query.match(field, .string(phrase), all: true, isPhrase: true)
      }
    }
    if first == "[" || first == "{" { return try range(field) }
    if first == ">" || first == "<" { return try comparison(field) }
    let (word, isPattern) = try word()
    if current == ":", field == nil {
      index += 1
      skipSpace()
      return word == "_exists_" ? try query.exists(try self.word().text) : try term(word)
    }
    skipSuffix()
    return try value(field, word, isPattern: isPattern)
  }

  private func value(_ field: String?, _ word: String, isPattern: Bool) throws(ElasticError) -> String {
    if word == "*" {
      guard let field, field != "*" else { return QueryWords.everything }
      return try query.exists(field)
    }
    return try each(field) { field, query throws(ElasticError) in
      if isPattern { return try query.wildcard(field, word) }
      return try query.match(field, .string(word), all: true, isPhrase: true)
    }
  }

  /// A filter over the field, or over every field that words are looked for in.
  private func each(
    _ field: String?, _ filter: (String, ElasticQuery) throws(ElasticError) -> String
  ) throws(ElasticError) -> String {
    var choices: [String] = []
    for name in field.map({ [$0] }) ?? (fields.isEmpty ? ["message"] : fields) {
      choices.append(try filter(name, query))
    }
    return QueryWords.any(choices)
  }

  private mutating func comparison(_ field: String?) throws(ElasticError) -> String {
    guard let field else { throw fault("a comparison needs a field, as in status:>=500") }
    var sign = String(text[index])
    index += 1
    if current == "=" {
      sign += "="
      index += 1
    }
    skipSpace()
    let value = current == "\"" ? try quoted() : try word().text
    return try query.bound(field, sign, .string(value))
  }

  private mutating func range(_ field: String?) throws(ElasticError) -> String {
    guard let field else { throw fault("a range needs a field, as in status:[400 TO 499]") }
    let isLowIncluded = current == "["
    index += 1
    let low = try side()
    guard takeOperator("TO") else { throw fault("a range is written [from TO to]") }
    let high = try side()
    skipSpace()
    guard let end = current, end == "]" || end == "}" else { throw fault("a range that is not closed with ] or }") }
    index += 1
    skipSuffix()
    return QueryWords.all(
      [
        try query.bound(field, isLowIncluded ? ">=" : ">", .string(low)),
        try query.bound(field, end == "]" ? "<=" : "<", .string(high)),
      ].filter { $0 != QueryWords.everything })
  }

  private mutating func side() throws(ElasticError) -> String {
    skipSpace()
    if current == "\"" { return try quoted() }
    let start = index
    while let next = current, !next.isWhitespace, next != "]", next != "}" { index += 1 }
    guard index > start else { throw fault("a range is written [from TO to]") }
    return String(text[start..<index])
  }

  // MARK: Characters

  private var isAtEnd: Bool { index >= text.count }
  private var current: Character? { index < text.count ? text[index] : nil }

  private mutating func skipSpace() {
    while let next = current, next.isWhitespace { index += 1 }
  }

  private func isOperator(_ word: String) -> Bool {
    let end = index + word.count
    guard end <= text.count, text[index..<end].elementsEqual(word) else { return false }
    guard word.first?.isLetter == true else { return true }
    return end == text.count || text[end].isWhitespace || text[end] == "("
  }

  private mutating func takeOperator(_ word: String) -> Bool {
    skipSpace()
    guard isOperator(word) else { return false }
    index += word.count
    return true
  }

  /// A `+` or `-` right before a clause.
  private mutating func takeSign(_ sign: Character) -> Bool {
    guard current == sign, index + 1 < text.count, !text[index + 1].isWhitespace else { return false }
    index += 1
    return true
  }

  /// A boost `^2` or a slop `~2` behind a term.
  private mutating func skipSuffix() {
    guard let mark = current, mark == "^" || mark == "~" else { return }
    index += 1
    while let next = current, next.isNumber || next == "." { index += 1 }
  }

  private mutating func quoted() throws(ElasticError) -> String {
    index += 1
    var output = ""
    while let next = current {
      index += 1
      if next == "\"" { return output }
      if next == "\\", let escaped = current {
        index += 1
        output.append(escaped)
      } else {
        output.append(next)
      }
    }
    throw fault("a quote that is never closed")
  }

  /// A word, escapes undone, and whether it has a star. An escaped star is not told from one: there is no other way to
  /// write it.
  private mutating func word() throws(ElasticError) -> (text: String, isPattern: Bool) {
    var output = ""
    var isPattern = false
    while let next = current, !next.isWhitespace, !"():\"^[]{}".contains(next) {
      index += 1
      if next == "\\", let escaped = current {
        index += 1
        output.append(escaped)
        continue
      }
      if next == "~" { throw fault("`~` (similar words) is not there") }
      if next == "*" || next == "?" { isPattern = true }
      output.append(next)
    }
    guard !output.isEmpty else { throw fault("`\(current.map(String.init) ?? "")` where a term is expected") }
    return (output, isPattern)
  }

  private func fault(_ what: String) -> ElasticError {
    ElasticError(
      400, "query_shard_exception",
      "Failed to parse query [\(String(text.prefix(200)))] at column \(index + 1): \(what)")
  }
}
