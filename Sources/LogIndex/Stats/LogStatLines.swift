/// The rows of statistics in their order, put into words as they are asked for.
package struct LogStatLines: Sendable {
  /// Bytes of one piece, roughly.
  package static let pieceBytes = 64 * 1024

  private let stats: LogStats
  private let groups: GroupTable
  private let keys: [[LogStatValue]]
  private let figures: [[StatFigure]]
  private let order: [Int32]
  /// The words of each combination's keys, one after another, and where each ends.
  private var keyWords: [UInt8] = []
  private var keyEnds: [Int] = []
  /// What stands before each figure.
  private var figureHeads: [[UInt8]] = []
  private var next = 0

  init(
    _ stats: LogStats, _ groups: GroupTable, keys: [[LogStatValue]], figures: [[StatFigure]], order: [Int32]
  ) {
    self.stats = stats
    self.groups = groups
    self.keys = keys
    self.figures = figures
    self.order = order
  }

  /// How many rows there are.
  package var count: Int { order.count }

  /// The values of a row.
  func row(_ place: Int) -> LogStatRow {
    let group = Int(order[place])
    var values: [LogStatValue] = []
    values.reserveCapacity(1 + stats.keys.count + figures.count)
    if stats.bucket != nil { values.append(.time(groups.buckets[group])) }
    values += keys[Int(groups.keys[group])]
    for figures in figures { values.append(figures[group].value) }
    return LogStatRow(values: values)
  }

  /// The next rows as lines of JSON, each with its line break, and how many they are; nil at the end.
  package mutating func piece() -> (bytes: [UInt8], count: Int)? {
    guard next < order.count else { return nil }
    if figureHeads.isEmpty { prepare() }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Self.pieceBytes + 1_024)
    let first = next
    var time: (start: Int64, words: [UInt8])?
    while next < order.count, bytes.count < Self.pieceBytes {
      let group = Int(order[next])
      next += 1
      bytes.append(0x7B)
      if stats.bucket != nil {
        let start = groups.buckets[group]
        if time?.start != start {
          var words = Array("\"time\":\"".utf8)
          RecordTime.append(start, digits: 9, to: &words)
          time = (start, words + [0x22])
        }
        if let time { bytes.append(contentsOf: time.words) }
      }
      append(key: Int(groups.keys[group]), to: &bytes)
      for (head, figures) in zip(figureHeads, figures) {
        bytes.append(contentsOf: head)
        figures[group].append(to: &bytes)
      }
      bytes.append(0x7D)
      bytes.append(0x0A)
    }
    return (bytes, next - first)
  }

  private func append(key: Int, to bytes: inout [UInt8]) {
    let start = key == 0 ? 0 : keyEnds[key - 1]
    keyWords.withUnsafeBufferPointer {
      bytes.append(contentsOf: UnsafeBufferPointer(rebasing: $0[start..<keyEnds[key]]))
    }
  }

  /// Puts into words what rows have in common.
  private mutating func prepare() {
    var isFirst = stats.bucket == nil
    func head(_ name: String) -> [UInt8] {
      var head: [UInt8] = isFirst ? [] : [0x2C]
      JSONText.appendQuoted(name.utf8, to: &head)
      isFirst = false
      return head + [0x3A]
    }
    let keyHeads = stats.keys.map { head($0.description) }
    figureHeads = stats.functions.map { head($0.name) }
    for texts in keys {
      for (head, value) in zip(keyHeads, texts) {
        keyWords += head
        value.append(to: &keyWords)
      }
      keyEnds.append(keyWords.count)
    }
  }
}

extension StatFigure {
  fileprivate func append(to output: inout [UInt8]) {
    guard case .count(let count) = self else { return value.append(to: &output) }
    if count >= 0 { PlainDecimal.append(UInt64(count), width: 1, to: &output) } else { value.append(to: &output) }
  }
}
