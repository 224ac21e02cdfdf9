/// Stores texts as templates and their variables.
struct TemplateWriter {
  /// A template that occurs less often is not worth its place: those texts go to the heap as they are.
  static let rowsMinimum = 4
  static let templatesMaximum = 16_384
  /// Of a number with so many digits those that never vary go into the template.
  private static let digitsMany = 12
  /// So many digits of such a number stay a variable, at least.
  private static let digitsMinimum = 8
  /// Decimal digits that are an integer.
  private static let integerDigits = 18

  private struct Found {
    var skeleton: [UInt8]
    var count = 0
    var variables: Int
    /// Where its variables begin among all, in the order of the templates.
    var start = 0
    /// Its number in the file; 0 when it was not kept.
    var number = 0
  }

  let base: UnsafePointer<UInt8>
  private let tokenizer: Tokenizer
  private let seed = ByteHash.seed
  private var table = HashIndex()
  private var found: [Found] = []
  /// The template of each text; -1 for none.
  private var templates: [Int32] = []
  private var variables: [Span] = []
  private var variableStarts: [Int32] = []

  init(base: UnsafePointer<UInt8>) {
    self.base = base
    tokenizer = Tokenizer(base: base)
  }

  /// Stores texts; `words` is told of the words in them, unless it is nil.
  mutating func write(
    _ spans: [Span], references: inout TemplateReferences.Source, words: inout TokenSet?, to parts: inout BlockParts
  ) {
    gather(spans, &references, &words)
    let columns = references.columns
    let kept = number()
    parts.meta.byte(ListForm.template.rawValue)
    parts.meta.varint(columns.count)
    for column in columns { parts.meta.varint(column) }
    var lists = lists(kept)
    let shared = lists.map { $0.map { sharedLength($0) } }
    parts.meta.varint(kept.count)
    for (place, template) in kept.enumerated() {
      parts.meta.blob(folded(found[template].skeleton, &lists[place], shared[place]))
    }
    IntWriter.write(templates.map { $0 < 0 ? 0 : UInt64(found[Int($0)].number) }, to: &parts)
    let plain = spans.indices.filter { templates[$0] < 0 || found[Int(templates[$0])].number == 0 }
    parts.meta.varint(parts.heap.count)
    for index in plain { parts.heap.append(spans[index].bytes(base)) }
    let writer = ListWriter(base: base)
    for variables in lists {
      for list in variables where !list.isEmpty { writer.write(list, to: &parts) }
    }
  }

  private mutating func gather(
    _ spans: [Span], _ references: inout TemplateReferences.Source, _ words: inout TokenSet?
  ) {
    templates.reserveCapacity(spans.count)
    variableStarts.reserveCapacity(spans.count)
    variables.reserveCapacity(spans.count * 2)
    for span in spans {
      references.advance()
      variableStarts.append(Int32(truncatingIfNeeded: variables.count))
      guard tokenizer.read(span, references.wanted), let (template, isNew) = template() else {
        templates.append(-1)
        words?.insertWords(span.bytes(base))
        continue
      }
      references.note(found: tokenizer.found)
      if isNew || tokenizer.hasEscape {
        words?.insertWords(span.bytes(base))
      } else {
        insertVaryingWords(span, &words)
      }
      found[template].count += 1
      templates.append(Int32(template))
      variables.append(contentsOf: tokenizer.variables)
    }
  }

  /// Tells of the words that variables and references of the text read last are in: the others are its template's.
  private func insertVaryingWords(_ span: Span, _ words: inout TokenSet?) {
    guard words != nil else { return }
    var done = Int(span.start)
    for part in tokenizer.variables { insertWords(around: part, span, &done, &words) }
    done = Int(span.start)
    for part in tokenizer.references { insertWords(around: part, span, &done, &words) }
  }

  private func insertWords(around part: Span, _ span: Span, _ done: inout Int, _ words: inout TokenSet?) {
    var (start, end) = (Int(part.start), part.end)
    if end <= done { return }
    while start > done, ASCII.isWord(base[start - 1]) { start -= 1 }
    while end < span.end, ASCII.isWord(base[end]) { end += 1 }
    words?.insertPlainWords(Span(start, end).bytes(base))
    done = end
  }

  /// The number of the tokenizer's template, and whether it was not seen before; nil when there are too many.
  private mutating func template() -> (number: Int, isNew: Bool)? {
    let skeleton = tokenizer.skeleton
    guard let text = skeleton.baseAddress else { return nil }
    let hash = ByteHash.hash(text, skeleton.count, seed: seed)
    if let number = table[hash] {
      let isSame = found[number].skeleton.withUnsafeBufferPointer { other in
        other.count == skeleton.count && other.baseAddress.map { ByteSearch.isSame($0, text, other.count) } ?? true
      }
      return isSame ? (number, false) : nil
    }
    guard found.count < Self.templatesMaximum else { return nil }
    table.insert(hash, found.count)
    found.append(Found(skeleton: Array(skeleton), variables: tokenizer.variables.count))
    return (found.count - 1, true)
  }

  /// Numbers the templates that are kept from 1, the most frequent first.
  private mutating func number() -> [Int] {
    let kept = found.indices.filter { found[$0].count >= Self.rowsMinimum }.sorted {
      (found[$0].count, $1) > (found[$1].count, $0)
    }
    for (place, template) in kept.enumerated() { found[template].number = place + 1 }
    return kept
  }

  /// The variables of each kept template, each in the order of the texts.
  private func lists(_ kept: [Int]) -> [[[Span]]] {
    var lists = kept.map { template in
      (0..<found[template].variables).map { _ in
        var list: [Span] = []
        list.reserveCapacity(found[template].count)
        return list
      }
    }
    for (index, template) in templates.enumerated() where template >= 0 {
      let number = found[Int(template)].number
      guard number > 0 else { continue }
      let start = Int(variableStarts[index])
      for variable in 0..<found[Int(template)].variables {
        lists[number - 1][variable].append(variables[start + variable])
      }
    }
    return lists
  }

  /// How many bytes that all texts begin with belong into the template: the whole text if it never varies, and of numbers
  /// with many digits those that never vary, so that what is left is shorter.
  private func sharedLength(_ list: [Span]) -> Int {
    guard let first = list.first else { return 0 }
    let length = Int(first.length)
    let isLong = length >= Self.digitsMany
    var shared = length
    for span in list.dropFirst() {
      guard Int(span.length) == length else { return 0 }
      if !isLong {
        if !span.isSame(first, base) { return 0 }
        continue
      }
      var same = 0
      while same < shared, base[Int(first.start) + same] == base[Int(span.start) + same] { same += 1 }
      shared = same
      if shared == 0 { return 0 }
    }
    if shared == length { return length }
    // Digits of which there is only one kind become integers, whatever they begin with.
    let text = first.bytes(base)
    guard HexText.isHex(text), length > Self.integerDigits || !text.allSatisfy(ASCII.isDigit) else { return 0 }
    return min(shared, length - Self.digitsMinimum)
  }

  /// A template's text with what its variables share put in, and cut from them.
  private func folded(_ skeleton: [UInt8], _ lists: inout [[Span]], _ shared: [Int]) -> [UInt8] {
    var result: [UInt8] = []
    var variable = 0
    var isNumber = false
    for byte in skeleton {
      if byte == Tokenizer.variable || byte == Tokenizer.identifier, !isNumber {
        fold(&lists[variable], shared[variable], into: &result)
        variable += 1
      } else {
        result.append(byte)
      }
      isNumber = byte == Tokenizer.reference && !isNumber
    }
    return result
  }

  /// Appends what a variable's texts begin with, and a place for the rest, which the list is then; without a rest none.
  private func fold(_ list: inout [Span], _ shared: Int, into result: inout [UInt8]) {
    guard shared > 0, let first = list.first else { return result.append(Tokenizer.variable) }
    result.append(contentsOf: first.bytes(base).prefix(shared))
    if shared == first.length {
      list = []
    } else {
      result.append(Tokenizer.variable)
      for index in list.indices { list[index] = Span(Int(list[index].start) + shared, list[index].end) }
    }
  }
}
