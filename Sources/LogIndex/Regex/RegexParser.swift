/// Reads a regular expression: what there is of RE2 that asks whether a text matches, so without groups to refer to,
/// without looking ahead or behind.
struct RegexParser {
  static let depthMaximum = 32
  static let repeatMaximum = 1_000

  private let scalars: [Unicode.Scalar]
  /// The byte each character begins at, and the end.
  private let offsets: [Int]
  private var index = 0
  private var depth = 0
  private var isFolded: Bool

  /// Reads a whole expression; `isFolded` takes upper and lower case alike.
  static func parse(_ text: [UInt8], isFolded: Bool) throws(RegexFault) -> RegexNode {
    var parser = RegexParser(text, isFolded: isFolded)
    let node = try parser.either()
    guard parser.isAtEnd else {
      throw parser.fault(parser.index, "')' without '('", "write \\) for a parenthesis in the text")
    }
    return node
  }

  private init(_ text: [UInt8], isFolded: Bool) {
    self.isFolded = isFolded
    scalars = Array(String(decoding: text, as: UTF8.self).unicodeScalars)
    var offsets: [Int] = [0]
    for scalar in scalars { offsets.append((offsets.last ?? 0) + UTF8.width(scalar)) }
    self.offsets = offsets
  }

  private var isAtEnd: Bool { index >= scalars.count }
  private var current: Unicode.Scalar? { index < scalars.count ? scalars[index] : nil }

  private func fault(_ at: Int, _ message: String, _ hint: String) -> RegexFault {
    RegexFault(offset: offsets[min(at, scalars.count)], message: message, hint: hint)
  }

  private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    guard current == scalar else { return false }
    index += 1
    return true
  }

  /// either = sequence { "|" sequence }
  private mutating func either() throws(RegexFault) -> RegexNode {
    var choices = [try sequence()]
    while take("|") { choices.append(try sequence()) }
    return choices.count == 1 ? choices[0] : .either(choices)
  }

  /// sequence = { atom [ repetition ] }
  private mutating func sequence() throws(RegexFault) -> RegexNode {
    var nodes: [RegexNode] = []
    while let scalar = current, scalar != "|", scalar != ")" {
      let start = index
      if take("("), let folded = flags() {
        isFolded = folded
        continue
      }
      index = start
      let node = try atom()
      nodes.append(try repetition(of: node, at: start))
    }
    return nodes.count == 1 ? nodes[0] : nodes.isEmpty ? .empty : .sequence(nodes)
  }

  /// `?i)` after a parenthesis: the rest of the group takes both cases; `?-i)` ends that.
  private mutating func flags() -> Bool? {
    let start = index
    if take("?") {
      let isOn = !take("-")
      if take("i"), take(")") { return isOn }
    }
    index = start
    return nil
  }

  /// repetition = "*" | "+" | "?" | "{" n [ "," [ m ] ] "}", and a "?" behind it that changes nothing here
  private mutating func repetition(of node: RegexNode, at start: Int) throws(RegexFault) -> RegexNode {
    let place = index
    guard let (least, most) = try counts() else { return node }
    if case .edge = node { throw fault(place, "nothing to repeat", "write \\\(scalars[place]) for the character") }
    _ = take("?")
    let next = index
    if try counts() != nil {
      throw fault(next, "a repetition of a repetition", "put the first in parentheses")
    }
    return .repeated(node, least: least, most: most)
  }

  private mutating func counts() throws(RegexFault) -> (Int, Int?)? {
    let start = index
    if take("*") { return (0, nil) }
    if take("+") { return (1, nil) }
    if take("?") { return (0, 1) }
    // A brace that begins no count is a character: `{"a":1}`.
    guard take("{"), let least = number() else {
      index = start
      return nil
    }
    var most: Int? = least
    if take(",") { most = number() }
    guard take("}") else {
      index = start
      return nil
    }
    guard least <= Self.repeatMaximum, most ?? 0 <= Self.repeatMaximum, most ?? least >= least else {
      throw fault(start, "a count that cannot be", "write {n}, {n,} or {n,m}, at most \(Self.repeatMaximum), n ≤ m")
    }
    return (least, most)
  }

  private mutating func number() -> Int? {
    var value: Int?
    while let scalar = current, ScalarSet.digits.contains(scalar.value) {
      value = min((value ?? 0) * 10 + Int(scalar.value - 0x30), 1_000_000)
      index += 1
    }
    return value
  }

  /// atom = "(" either ")" | "[" class "]" | "." | "^" | "$" | "\" escape | character
  private mutating func atom() throws(RegexFault) -> RegexNode {
    let start = index
    guard let scalar = current else { return .empty }
    index += 1
    switch scalar {
    case "(": return try group(start)
    case "[": return .set(try characters(start))
    case ".": return .set(.anything)
    case "^": return .edge(.start)
    case "$": return .edge(.end)
    case "*", "+", "?": throw fault(start, "nothing to repeat", "write \\\(scalar) for the character")
    case "\\": return try escape(start)
    default: return literal(scalar)
    }
  }

  private func literal(_ scalar: Unicode.Scalar) -> RegexNode {
    .set(isFolded ? ScalarSet(scalar).folded : ScalarSet(scalar))
  }

  private mutating func group(_ start: Int) throws(RegexFault) -> RegexNode {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.depthMaximum else {
      throw fault(start, "more than \(Self.depthMaximum) parentheses inside each other", "make it flatter")
    }
    let before = isFolded
    defer { isFolded = before }
    if take("?") {
      let isName = take("P")
      if take(":") {
        // Only groups.
      } else if take("i"), take(":") {
        isFolded = true
      } else if take("<"), let first = current, first != "=", first != "!" {
        while let scalar = current, scalar != ">" { index += scalar == ")" ? scalars.count : 1 }
        guard take(">") else { throw fault(start, "a group whose name never ends", "write (?:…) for a group") }
      } else {
        throw fault(
          start, isName ? "a group that is not known" : "looking ahead or behind is not there",
          "groups are (…), (?:…) and (?i:…); use AND, NOT and a second expression instead")
      }
    }
    let node = try either()
    guard take(")") else { throw fault(start, "'(' without ')'", "close it, or write \\( for the character") }
    return node
  }

  private mutating func escape(_ start: Int) throws(RegexFault) -> RegexNode {
    guard let scalar = current else {
      throw fault(start, "a '\\' with nothing after it", "write \\\\ for a backslash")
    }
    switch scalar {
    case "b", "B":
      index += 1
      return .edge(scalar == "b" ? .word : .notWord)
    case "A", "z":
      index += 1
      return .edge(scalar == "A" ? .start : .end)
    default: break
    }
    if let set = named(scalar) {
      index += 1
      return .set(set)
    }
    return literal(try character(start))
  }

  private func named(_ letter: Unicode.Scalar) -> ScalarSet? {
    switch letter {
    case "d": .digits
    case "D": ScalarSet.digits.inverted
    case "w": .words
    case "W": ScalarSet.words.inverted
    case "s": .spaces
    case "S": ScalarSet.spaces.inverted
    default: nil
    }
  }

  /// The character that stands behind a backslash.
  private mutating func character(_ start: Int) throws(RegexFault) -> Unicode.Scalar {
    guard let scalar = current else {
      throw fault(start, "a '\\' with nothing after it", "write \\\\ for a backslash")
    }
    index += 1
    switch scalar {
    case "n": return "\n"
    case "t": return "\t"
    case "r": return "\r"
    case "f": return "\u{C}"
    case "v": return "\u{B}"
    case "x": return try hexadecimal(start, digits: 2)
    case "u": return try hexadecimal(start, digits: 4)
    default: break
    }
    if ScalarSet.digits.contains(scalar.value) {
      throw fault(start, "a reference to a group is not there", "write the text again")
    }
    if scalar.value < 0x80, ScalarSet.words.contains(scalar.value), scalar != "_" {
      throw fault(
        start, "'\\\(scalar)' has no meaning", "there are \\d \\w \\s \\b, their capitals, and \\n \\t \\r \\xHH")
    }
    return scalar
  }

  private mutating func hexadecimal(_ start: Int, digits: Int) throws(RegexFault) -> Unicode.Scalar {
    let isBraced = take("{")
    var value: UInt32 = 0
    var count = 0
    while let scalar = current, scalar.value < 0x80, let digit = JSONText.hexValue(UInt8(scalar.value)),
      count < (isBraced ? 6 : digits)
    {
      value = value << 4 | digit
      count += 1
      index += 1
    }
    guard count == digits || (isBraced && count > 0), !isBraced || take("}"), let scalar = Unicode.Scalar(value) else {
      throw fault(start, "no character of that number", "write \\x41, \\u00e4 or \\x{1F600}")
    }
    return scalar
  }
}

extension RegexParser {
  private static let classes: [(String, ScalarSet)] = [
    ("alpha", ScalarSet([0x41...0x5A, 0x61...0x7A])), ("digit", .digits), ("upper", ScalarSet([0x41...0x5A])),
    ("alnum", ScalarSet([0x30...0x39, 0x41...0x5A, 0x61...0x7A])), ("lower", ScalarSet([0x61...0x7A])),
    ("space", .spaces), ("xdigit", ScalarSet([0x30...0x39, 0x41...0x46, 0x61...0x66])),
    ("punct", ScalarSet([0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E])), ("word", .words),
  ]

  /// class = [ "^" ] { character [ "-" character ] | escape | "[:" name ":]" }; a "]" that comes first is a character.
  private mutating func characters(_ start: Int) throws(RegexFault) -> ScalarSet {
    let isInverted = take("^")
    var set = ScalarSet()
    var isFirst = true
    while let scalar = current, isFirst || scalar != "]" {
      isFirst = false
      let place = index
      if scalar == "[", let found = classes(place) {
        set = set.union(found)
        continue
      }
      index += 1
      if scalar == "\\", let letter = current, let found = named(letter) {
        index += 1
        set = set.union(found)
        continue
      }
      let low = scalar == "\\" ? try character(place) : scalar
      var high = low
      if current == "-", index + 1 < scalars.count, scalars[index + 1] != "]" {
        index += 1
        let end = index
        index += 1
        high = scalars[end] == "\\" ? try character(end) : scalars[end]
      }
      guard low.value <= high.value else {
        throw fault(place, "a range whose end is before its beginning", "write a-z, and \\- for a dash")
      }
      set = set.union(ScalarSet([low.value...high.value]))
    }
    guard take("]") else { throw fault(start, "'[' without ']'", "close it, or write \\[ for the character") }
    if isFolded { set = set.folded }
    return isInverted ? set.inverted : set
  }

  private mutating func classes(_ start: Int) -> ScalarSet? {
    for (name, set) in Self.classes {
      let text = Array("[:\(name):]".unicodeScalars)
      if start + text.count <= scalars.count, Array(scalars[start..<(start + text.count)]) == text {
        index += text.count
        return set
      }
    }
    return nil
  }
}
