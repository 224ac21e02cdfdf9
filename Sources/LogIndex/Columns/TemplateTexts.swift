/// The texts of a column's templates as readers see them, one after another: what never varies, with a byte of no text where
/// something does.
struct TemplateTexts: Sendable {
  /// Stands for a variable or a reference: part of a word, and never of a text in UTF-8.
  static let hole: UInt8 = 0xFF

  private let bytes: [UInt8]
  private let ends: [UInt32]

  init(_ templates: [TemplateColumn.Template]) {
    var bytes: [UInt8] = []
    var ends: [UInt32] = []
    ends.reserveCapacity(templates.count)
    for template in templates {
      for piece in template.pieces {
        switch piece {
        case .literal(let literal):
          if literal.contains(0x5C) { bytes += JSONText.unescaped(literal[...]) } else { bytes += literal }
        case .variable, .reference: bytes.append(Self.hole)
        }
      }
      ends.append(UInt32(truncatingIfNeeded: bytes.count))
    }
    self.bytes = bytes
    self.ends = ends
  }

  var heldBytes: Int { bytes.count + ends.count * 4 }

  /// The text of a template, by its place from 0.
  subscript(_ template: Int) -> ArraySlice<UInt8> {
    bytes[(template == 0 ? 0 : Int(ends[template - 1]))..<Int(ends[template])]
  }
}
