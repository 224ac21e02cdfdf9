/// Stores texts as templates and their variables.
struct TemplateWriter {
  /// A template that occurs less often is not worth its place: those texts go to the heap as they are.
  static let rowsMinimum = 4
  static let templatesMaximum = 16_384

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
  private var tokenizer = Tokenizer()
  private var table: [UInt64: Int] = [:]
  private var found: [Found] = []
  /// The template of each text; -1 for none.
  private var templates: [Int32] = []
  private var variables: [Span] = []
  private var variableStarts: [Int32] = []

  init(base: UnsafePointer<UInt8>) { self.base = base }

  mutating func write(
    _ spans: [Span], references: [Tokenizer.Reference], columns: [Int], to parts: inout BlockParts
  ) {
    gather(spans, references)
    let kept = number()
    parts.meta.byte(ListForm.template.rawValue)
    parts.meta.varint(columns.count)
    for column in columns { parts.meta.varint(column) }
    let lists = lists(kept)
    let constants = lists.map { $0.map { isConstant($0) } }
    parts.meta.varint(kept.count)
    for (place, template) in kept.enumerated() {
      parts.meta.blob(folded(found[template].skeleton, lists[place], constants[place]))
    }
    IntWriter.write(templates.map { $0 < 0 ? 0 : UInt64(found[Int($0)].number) }, to: &parts)
    let plain = spans.indices.filter { templates[$0] < 0 || found[Int(templates[$0])].number == 0 }
    parts.meta.varint(parts.heap.count)
    for index in plain { parts.heap.append(spans[index].bytes(base)) }
    let writer = ListWriter(base: base)
    for (place, variables) in lists.enumerated() {
      for (list, isConstant) in zip(variables, constants[place]) where !isConstant { writer.write(list, to: &parts) }
    }
  }

  private mutating func gather(_ spans: [Span], _ references: [Tokenizer.Reference]) {
    var next = 0
    templates.reserveCapacity(spans.count)
    variableStarts.reserveCapacity(spans.count)
    for (index, span) in spans.enumerated() {
      let first = next
      while next < references.count, references[next].value == index { next += 1 }
      variableStarts.append(Int32(truncatingIfNeeded: variables.count))
      guard span.length <= Tokenizer.bytesMaximum, tokenizer.read(span, base, references[first..<next]),
        let template = template()
      else {
        templates.append(-1)
        continue
      }
      found[template].count += 1
      templates.append(Int32(template))
      variables.append(contentsOf: tokenizer.variables)
    }
  }

  /// The number of the tokenizer's template; nil when there are too many.
  private mutating func template() -> Int? {
    let skeleton = tokenizer.skeleton
    let hash = skeleton.withUnsafeBufferPointer { text in
      text.baseAddress.map { ByteHash.hash($0, text.count) } ?? 0
    }
    if let number = table[hash] { return found[number].skeleton == skeleton ? number : nil }
    guard found.count < Self.templatesMaximum else { return nil }
    table[hash] = found.count
    found.append(Found(skeleton: skeleton, variables: tokenizer.variables.count))
    return found.count - 1
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

  private func isConstant(_ list: [Span]) -> Bool {
    guard let first = list.first else { return true }
    return list.allSatisfy { $0.isSame(first, base) }
  }

  /// A template's text with the variables that never vary put in.
  private func folded(_ skeleton: [UInt8], _ lists: [[Span]], _ constants: [Bool]) -> [UInt8] {
    var result: [UInt8] = []
    var variable = 0
    var isNumber = false
    for byte in skeleton {
      if byte == Tokenizer.variable, !isNumber {
        if constants[variable], let span = lists[variable].first {
          result.append(contentsOf: span.bytes(base))
        } else {
          result.append(byte)
        }
        variable += 1
      } else {
        result.append(byte)
      }
      isNumber = byte == Tokenizer.reference && !isNumber
    }
    return result
  }
}
