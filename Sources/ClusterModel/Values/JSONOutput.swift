/// Writes JSON where an encoder is too slow or a value is none of JSONEncoder's.
package enum JSONOutput {
  /// Appends a text as a JSON string.
  package static func append(_ text: String, to output: inout [UInt8]) {
    output.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        output.append(UInt8(ascii: "\\"))
        output.append(byte)
      case 10: output.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "n")])
      case 13: output.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "r")])
      case 9: output.append(contentsOf: [UInt8(ascii: "\\"), UInt8(ascii: "t")])
      case 0..<32, 127:
        output.append(contentsOf: "\\u00".utf8)
        for nibble in [byte >> 4, byte & 15] { output.append(nibble < 10 ? 48 + nibble : 87 + nibble) }
      default: output.append(byte)
      }
    }
    output.append(UInt8(ascii: "\""))
  }

  /// A text as a JSON string.
  package static func quoted(_ text: String) -> [UInt8] {
    var output: [UInt8] = []
    append(text, to: &output)
    return output
  }
}
