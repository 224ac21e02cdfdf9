/// Reads the one JSON shape these programs are given: a list of strings.
package enum CommandLineText {
  /// The strings, or nil when the text is not such a list.
  package static func parse(_ text: String) -> [String]? {
    var rest = Substring(text).unicodeScalars
    func skip() { while let next = rest.first, " \t\r\n".unicodeScalars.contains(next) { rest.removeFirst() } }
    func take(_ scalar: Unicode.Scalar) -> Bool {
      skip()
      guard rest.first == scalar else { return false }
      rest.removeFirst()
      return true
    }
    guard take("[") else { return nil }
    var found: [String] = []
    if take("]") { return found }
    repeat {
      guard take("\""), let word = string(&rest) else { return nil }
      found.append(word)
    } while take(",")
    guard take("]") else { return nil }
    skip()
    return rest.isEmpty ? found : nil
  }

  /// The rest of a string whose opening quote was taken.
  private static func string(_ rest: inout Substring.UnicodeScalarView) -> String? {
    var units: [UInt16] = []
    while let scalar = rest.popFirst() {
      if scalar == "\"" { return String(decoding: units, as: UTF16.self) }
      guard scalar == "\\" else {
        if scalar.value < 0x20 { return nil }
        units += Array(String(scalar).utf16)
        continue
      }
      guard let escape = rest.popFirst() else { return nil }
      switch escape {
      case "n": units.append(0x0A)
      case "t": units.append(0x09)
      case "r": units.append(0x0D)
      case "b": units.append(0x08)
      case "f": units.append(0x0C)
      case "\"", "\\", "/": units.append(UInt16(escape.value))
      case "u":
        let digits = String(String.UnicodeScalarView(rest.prefix(4)))
        guard digits.count == 4, let unit = UInt16(digits, radix: 16) else { return nil }
        rest.removeFirst(4)
        units.append(unit)
      default: return nil
      }
    }
    return nil
  }
}
