import ClusterAPI
import ClusterModel

/// A histogram of log records as lines for a terminal: a bar a span of time, longest where most records are. Pure.
struct LogChart {
  /// Columns of a terminal that does not say how many it has.
  static let columnsDefault = 80
  /// The fewest columns of a bar.
  private static let barLeast = 10

  /// Columns of a line.
  let columns: Int
  /// Whether the parts of a bar are coloured by level.
  let colour: Bool

  /// The lines of some spans, oldest first.
  func lines(_ spans: [LogHistogram.Span]) -> [String] {
    let most = spans.map(\.count).max() ?? 0
    let numbers = spans.map { String($0.count) }
    let width = numbers.map(\.count).max() ?? 1
    let notes = spans.map { Self.note($0) }
    let noteWidth = notes.map(\.count).max() ?? 0
    let bar = max(Self.barLeast, columns - 24 - width - (noteWidth > 0 ? noteWidth + 2 : 0))
    return spans.indices.map { index in
      let span = spans[index]
      let drawn = most == 0 ? "" : self.bar(span, most: most, width: bar)
      let blank = String(repeating: " ", count: max(0, bar - length(span, most: most, width: bar)))
      let number = String(repeating: " ", count: width - numbers[index].count) + numbers[index]
      let line = "\(span.time.description)  \(drawn)\(blank)  \(number)"
      return notes[index].isEmpty ? line : line + "  " + notes[index]
    }
  }

  /// What stands behind the number: how many were warnings, errors and worse.
  private static func note(_ span: LogHistogram.Span) -> String {
    ["warn", "error", "fatal"].compactMap { level in span.values[level].map { "\($0) \(level)" } }.joined(
      separator: ", ")
  }

  /// Columns of a bar; one record is at least one.
  private func length(_ span: LogHistogram.Span, most: Int, width: Int) -> Int {
    guard most > 0, span.count > 0 else { return 0 }
    return max(1, Int((Double(span.count) / Double(most) * Double(width)).rounded()))
  }

  private func bar(_ span: LogHistogram.Span, most: Int, width: Int) -> String {
    let length = length(span, most: most, width: width)
    guard colour, length > 0 else { return String(repeating: "█", count: length) }
    // Errors stand first: what is rare among them still has a column.
    var left = length
    var drawn = ""
    for (levels, code) in [(["fatal", "error"], "31"), (["warn"], "33")] {
      let count = levels.reduce(0) { $0 + (span.values[$1] ?? 0) }
      guard count > 0, left > 0 else { continue }
      let part = min(left, max(1, Int(Double(count) / Double(span.count) * Double(length))))
      drawn += "\u{1B}[\(code)m" + String(repeating: "█", count: part) + "\u{1B}[0m"
      left -= part
    }
    return left > 0 ? drawn + "\u{1B}[32m" + String(repeating: "█", count: left) + "\u{1B}[0m" : drawn
  }
}
