internal import Synchronization

/// Integers ready to be read one by one.
enum IntReader: Sendable {
  case constant(UInt64)
  /// As many bits each, from a bit of the block's numbers on.
  case packed(least: UInt64, width: Int, bit: Int)
  case wide([UInt64])
  case narrow(Numbers)

  init(_ column: IntColumn, _ block: Block) throws(BlockFault) {
    if let direct = column.direct {
      self = direct
      return
    }
    let values = try block.values(column)
    if values.allSatisfy({ $0 <= UInt64(UInt32.max) }) {
      self = .narrow(Numbers(values))
    } else {
      self = .wide(values)
    }
  }

  var heldBytes: Int {
    switch self {
    case .constant, .packed: 0
    case .wide(let values): values.count * 8
    case .narrow(let values): values.heldBytes
    }
  }

  @inline(__always) func value(_ index: Int, _ data: UnsafeRawBufferPointer) -> UInt64 {
    switch self {
    case .constant(let value): value
    case .packed(let least, let width, let bit): least &+ BitReader.read(data, bit: bit + index * width, width: width)
    case .wide(let values): values[index]
    case .narrow(let values): UInt64(values[index])
    }
  }
}

/// A column of texts ready to be read one by one.
final class ListReader: Sendable {
  enum Body: Sendable {
    case constant([UInt8])
    case decimal(IntReader, scales: IntReader)
    case padded(Int, IntReader)
    case hex(digits: Int, start: Int)
    case uuid(start: Int)
    case text(first: Int)
    /// The distinct texts, how many there are, and the number of each value's.
    case dictionary(ListReader, Int, Numbers)
    case template(TemplateReader)
  }

  let body: Body
  /// Of a dictionary whose texts lie in the heap: all of them at hand, and the number of each value's.
  private let flat: FlatTexts?
  private let codes: Numbers

  /// Bytes that are decoded, in memory.
  var heldBytes: Int {
    switch body {
    case .constant(let text): text.count
    case .decimal(let digits, let scales): digits.heldBytes + scales.heldBytes
    case .padded(_, let values): values.heldBytes
    case .hex, .uuid, .text: 0
    case .dictionary(let distinct, _, let numbers): distinct.heldBytes + numbers.heldBytes + (flat?.heldBytes ?? 0)
    case .template(let reader): reader.heldBytes
    }
  }

  init(_ column: ListColumn, _ block: Block) throws(BlockFault) {
    switch column {
    case .constant(let text): body = .constant(text)
    case .decimal(let digits, let scales):
      body = .decimal(try IntReader(digits, block), scales: try IntReader(scales, block))
    case .padded(let width, let values): body = .padded(width, try IntReader(values, block))
    case .hex(let digits, let start): body = .hex(digits: digits, start: start)
    case .uuid(let start): body = .uuid(start: start)
    case .text(let first): body = .text(first: first)
    case .dictionary(let values, let count, let numbers):
      body = .dictionary(try ListReader(values, block), count, try block.numbers(numbers, below: count))
    case .recent(let values, let count, let distances):
      body = .dictionary(try ListReader(values, block), count, try block.recent(distances, below: count))
    case .template(let template): body = .template(try TemplateReader(template, block))
    }
    if case .dictionary(let distinct, let count, let numbers) = body {
      flat = try FlatTexts(distinct, count: count, block)
      codes = numbers
    } else {
      flat = nil
      codes = Numbers([])
    }
  }

  /// Whether its form alone says that no value is empty.
  var isNeverEmpty: Bool {
    switch body {
    case .decimal, .uuid: true
    case .padded(let width, _): width > 0
    case .hex(let digits, _): digits > 0
    case .constant(let text): !text.isEmpty
    case .dictionary(let distinct, _, _): distinct.isNeverEmpty
    case .text, .template: false
    }
  }

  /// Appends the value of this number, as it is spelled; `row` is the record it belongs to.
  func append(_ index: Int, row: Int, of block: Block, to output: inout [UInt8]) throws(BlockFault) {
    if let flat { return flat.append(Int(codes[index]), to: &output) }
    switch body {
    case .constant(let text): output += text
    case .decimal(let digits, let scales):
      let number = block.withData {
        PlainDecimal(
          digits: ZigZag.decode(digits.value(index, $0)), scale: UInt8(truncatingIfNeeded: scales.value(index, $0)))
      }
      guard number.scale <= 18 else { throw BlockFault("a number is too long") }
      number.append(to: &output)
    case .padded(let width, let values):
      PlainDecimal.append(block.withData { values.value(index, $0) }, width: width, to: &output)
    case .hex(let digits, let start):
      block.withData { HexText.append($0, start + index * ((digits + 1) / 2), digits, to: &output) }
    case .uuid(let start): block.withData { HexText.appendUUID($0, start + index * 16, to: &output) }
    case .text(let first): output += try block.text(first + index)
    case .dictionary(let values, _, let numbers):
      try values.append(Int(numbers[index]), row: row, of: block, to: &output)
    case .template(let reader): try reader.append(index, row: row, of: block, to: &output)
    }
  }

  func text(_ index: Int, row: Int, of block: Block) throws(BlockFault) -> [UInt8] {
    var output: [UInt8] = []
    try append(index, row: row, of: block, to: &output)
    return output
  }
}

/// The texts of a dictionary, one after another.
private struct FlatTexts: Sendable {
  static let bytesMaximum = 64 * 1024

  private let bytes: [UInt8]
  private let ends: [UInt32]

  /// Nil when they are of another form, or too many.
  init?(_ distinct: ListReader, count: Int, _ block: Block) throws(BlockFault) {
    guard case .text = distinct.body, count <= 4_096 else { return nil }
    var bytes: [UInt8] = []
    var ends: [UInt32] = []
    ends.reserveCapacity(count)
    for index in 0..<count {
      try distinct.append(index, row: 0, of: block, to: &bytes)
      guard bytes.count <= Self.bytesMaximum else { return nil }
      ends.append(UInt32(bytes.count))
    }
    self.bytes = bytes
    self.ends = ends
  }

  var heldBytes: Int { bytes.count + ends.count * 4 }

  @inline(__always) func append(_ index: Int, to output: inout [UInt8]) {
    let start = index == 0 ? 0 : Int(ends[index - 1])
    let end = Int(ends[index])
    bytes.withUnsafeBufferPointer { output.append(contentsOf: UnsafeBufferPointer(rebasing: $0[start..<end])) }
  }
}

/// A column of templates ready to be read one by one.
final class TemplateReader: Sendable {
  let column: TemplateColumn
  /// The template of each value, from 1.
  let numbers: Numbers
  /// How many values have no template.
  let plainCount: Int
  var hasPlain: Bool { plainCount > 0 }
  /// How many values before each have the same template.
  let ranks: Numbers
  private let opened: Mutex<Opened>
  private let flat = Mutex<TemplatePieces?>(nil)

  /// The variables that were read, and their bytes in memory.
  private struct Opened {
    var readers: [ListReader?]
    var bytes = 0

    mutating func keep(_ reader: ListReader, _ place: Int) {
      if readers[place] == nil { bytes += reader.heldBytes + 128 }
      readers[place] = reader
    }
  }

  init(_ column: TemplateColumn, _ block: Block) throws(BlockFault) {
    self.column = column
    let numbers = try block.numbers(column.numbers, below: column.templates.count + 1)
    self.numbers = numbers
    var counts = Array(repeating: UInt32(0), count: column.templates.count + 1)
    numbers.withReader { numbers in for index in 0..<numbers.count { counts[Int(numbers[index])] += 1 } }
    for (template, count) in zip(column.templates, counts.dropFirst()) where template.count < Int(count) {
      throw BlockFault("a template's variables are missing")
    }
    plainCount = Int(counts[0])
    guard plainCount <= block.header.texts - column.firstText else { throw BlockFault("texts are missing") }
    let most = counts.max() ?? 0
    for number in counts.indices { counts[number] = 0 }
    ranks = Numbers(count: numbers.count, below: Int(most)) { writer in
      numbers.withReader { numbers in
        for index in 0..<numbers.count {
          let number = Int(numbers[index])
          writer.set(index, UInt64(counts[number]))
          counts[number] += 1
        }
      }
    }
    opened = Mutex(Opened(readers: Array(repeating: nil, count: column.variables.count)))
  }

  /// Bytes that are decoded, in memory.
  var heldBytes: Int {
    // Without escapes what readers see is what the column has.
    let flatBytes = flat.withLock { $0.map { $0.bytes.count == column.pieces.bytes.count ? 0 : $0.heldBytes } ?? 0 }
    return numbers.heldBytes + ranks.heldBytes + column.variables.count * 8 + flatBytes + opened.withLock { $0.bytes }
  }

  /// The templates' pieces, their literal text as readers see it; made when they are first asked for.
  var pieces: TemplatePieces {
    flat.withLock { flat in
      if let flat { return flat }
      let made = column.pieces.unescaped
      flat = made
      return made
    }
  }

  func append(_ index: Int, row: Int, of block: Block, to output: inout [UInt8]) throws(BlockFault) {
    let number = Int(numbers[index])
    let rank = Int(ranks[index])
    guard number > 0 else {
      output += try block.text(column.firstText + rank)
      return
    }
    for place in column.pieces.range(number - 1) {
      let piece = column.pieces.pieces[place]
      switch piece.kind {
      case .literal: output += column.pieces.text(piece)
      case .variable: try variables(number - 1, piece.number, block).append(rank, row: row, of: block, to: &output)
      case .reference: try Self.append(column.columns[piece.number], row: row, of: block, to: &output)
      }
    }
  }

  /// Appends what a record has in a column that a template refers to.
  static func append(_ other: Int, row: Int, of block: Block, to output: inout [UInt8]) throws(BlockFault) {
    let rows = try block.rows()
    guard other < block.columnCounts.count, rows.has(rows.shapes[row], other) else {
      throw BlockFault("a template refers to nothing")
    }
    let reader = try block.column(other)
    if case .template(let reader) = reader.body, reader.column.columns.count > 0 {
      throw BlockFault("a template refers to another with references")
    }
    try reader.append(rows.ordinal(row, other), row: row, of: block, to: &output)
  }

  func variables(_ template: Int, _ variable: Int, _ block: Block) throws(BlockFault) -> ListReader {
    let place = column.templates[template].firstVariable + variable
    if let reader = opened.withLock({ $0.readers[place] }) { return reader }
    let reader = try ListReader(column.variables[place], block)
    opened.withLock { $0.keep(reader, place) }
    return reader
  }
}
