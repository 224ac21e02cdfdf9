/// Columns and rows, and their text with aligned columns.
struct TextTable: Hashable {
  /// A column's heading and whether it shows only with `-o wide`.
  struct Column: Hashable {
    /// The heading.
    let title: String
    /// Whether it shows only with `-o wide`.
    let wide: Bool

    /// A column.
    init(_ title: String, wide: Bool = false) {
      self.title = title
      self.wide = wide
    }
  }

  /// The columns in order.
  var columns: [Column]
  /// The cells of each row, one a column.
  var rows: [[String]]

  /// A table without rows.
  init(columns: [Column], rows: [[String]] = []) {
    self.columns = columns
    self.rows = rows
  }

  /// The lines, headings first, two or more blanks between columns, none at a line's end.
  func lines(wide: Bool, heading: Bool = true, widths least: [Int] = []) -> [String] {
    let shown = columns.indices.filter { wide || !columns[$0].wide }
    let widths = self.widths(least: least)
    let head = heading ? [columns.map(\.title)] : []
    return (head + rows).map { row in
      var line = ""
      for (place, index) in shown.enumerated() {
        let cell = index < row.count ? Text.visible(row[index]) : ""
        line += cell
        if place < shown.count - 1 {
          line += String(repeating: " ", count: max(0, widths[index] - Text.columns(of: cell)) + 2)
        }
      }
      while line.last == " " { line.removeLast() }
      return line
    }
  }

  /// The width of each column: its widest cell, or what an earlier part of the table used.
  func widths(least: [Int] = []) -> [Int] {
    columns.indices.map { index in
      let cells = rows.map { index < $0.count ? Text.columns(of: Text.visible($0[index])) : 0 }
      let before = index < least.count ? least[index] : 0
      return max(before, columns[index].title.count, cells.max() ?? 0)
    }
  }

  /// The lines as one text that ends with a newline.
  func text(wide: Bool) -> String { lines(wide: wide).map { $0 + "\n" }.joined() }
}

/// Text made safe and measurable for a terminal.
enum Text {
  /// The text with control characters written as escapes, so that no record can move the cursor or set colours.
  static func visible(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: isControl) else { return text }
    var safe = ""
    safe.reserveCapacity(text.utf8.count + 8)
    for scalar in text.unicodeScalars {
      guard isControl(scalar) else {
        safe.unicodeScalars.append(scalar)
        continue
      }
      switch scalar {
      case "\n": safe += "\\n"
      case "\r": safe += "\\r"
      case "\t": safe += "\\t"
      default:
        let hex = String(scalar.value, radix: 16)
        safe +=
          scalar.value < 256
          ? "\\x\(hex.count < 2 ? "0" : "")\(hex)" : "\\u{\(hex)}"
      }
    }
    return safe
  }

  /// Control characters, and the marks that change writing direction and can so disguise a line.
  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    let value = scalar.value
    return value < 32 || (value >= 127 && value < 160) || (value >= 0x202A && value <= 0x202E)
      || (value >= 0x2066 && value <= 0x2069) || value == 0x2028 || value == 0x2029
  }

  /// Columns the text takes: its characters, wide ones counted twice.
  static func columns(of text: String) -> Int {
    text.unicodeScalars.allSatisfy(\.isASCII)
      ? text.utf8.count
      : text.reduce(0) {
        $0
          + ($1.unicodeScalars.contains {
            (0x1100...0x115F).contains($0.value)
              || (0x2E80...0xA4CF).contains($0.value) || (0xAC00...0xD7A3).contains($0.value)
              || (0xF900...0xFAFF).contains($0.value) || (0xFF00...0xFF60).contains($0.value)
              || (0x1F300...0x1FAFF).contains($0.value)
          } ? 2 : 1)
      }
  }

  /// The text padded with blanks to a width.
  static func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - columns(of: text)))
  }

  /// A text of several lines as one: its first and its last line.
  static func firstAndLast(_ text: String) -> String {
    let lines = text.split(separator: "\n")
    guard lines.count > 1, let first = lines.first, let last = lines.last else { return text }
    return "\(first) … \(last)"
  }
}
