/// A run of texts of a block: where and in which form it lies.
enum ListColumn: Sendable {
  case constant([UInt8])
  case decimal(digits: IntColumn, scales: IntColumn)
  case padded(width: Int, IntColumn)
  case hex(digits: Int, start: Int)
  case uuid(start: Int)
  case text(first: Int)
  indirect case dictionary(ListColumn, count: Int, numbers: IntColumn)
  indirect case recent(ListColumn, count: Int, distances: IntColumn)
  indirect case template(TemplateColumn)

  /// Bytes it takes beside what it lies in.
  var heldBytes: Int {
    switch self {
    case .constant(let text): text.count + 32
    case .decimal(let digits, let scales): digits.heldBytes + scales.heldBytes
    case .padded(_, let values): values.heldBytes
    case .hex, .uuid, .text: 0
    case .dictionary(let values, _, let numbers), .recent(let values, _, let numbers):
      2 * MemoryLayout<ListColumn>.stride + values.heldBytes + numbers.heldBytes
    case .template(let column): column.heldBytes
    }
  }

  /// Reads the directory's entry of a list with its count before it.
  static func read(
    _ reader: inout ByteReader, size: Int, most: Int, texts: Int
  ) throws(BlockFault) -> (ListColumn, Int) {
    let count = try reader.int(most)
    return (try body(&reader, count, size, texts, isNested: false), count)
  }

  private static func body(
    _ reader: inout ByteReader, _ count: Int, _ size: Int, _ texts: Int, isNested: Bool
  ) throws(BlockFault) -> ListColumn {
    guard let form = ListForm(rawValue: try reader.byte()) else { throw BlockFault("a column has an unknown form") }
    switch form {
    case .constant: return .constant(Array(try reader.blob()))
    case .decimal:
      let digits = try ints(&reader, count, size)
      return .decimal(digits: digits, scales: try ints(&reader, count, size))
    case .padded:
      let width = Int(try reader.byte())
      guard width <= 18 else { throw BlockFault("a number is too wide") }
      return .padded(width: width, try ints(&reader, count, size))
    case .hex:
      let digits = try reader.int(128)
      return .hex(digits: digits, start: try place(&reader, size, count * ((digits + 1) / 2)))
    case .uuid: return .uuid(start: try place(&reader, size, count * 16))
    case .text:
      let first = try reader.int(texts)
      guard count <= texts - first else { throw BlockFault("a column's texts are missing") }
      return .text(first: first)
    case .dictionary, .recent:
      guard !isNested else { throw BlockFault("a dictionary of a dictionary") }
      let distinct = try reader.int(count)
      let values = try body(&reader, distinct, size, texts, isNested: true)
      let numbers = try ints(&reader, count, size)
      return form == .recent
        ? .recent(values, count: distinct, distances: numbers)
        : .dictionary(values, count: distinct, numbers: numbers)
    case .template:
      guard !isNested else { throw BlockFault("a template inside a dictionary") }
      return .template(try TemplateColumn(&reader, count: count, size: size, texts: texts))
    }
  }

  private static func ints(_ reader: inout ByteReader, _ count: Int, _ size: Int) throws(BlockFault) -> IntColumn {
    let column = try IntColumn(&reader, size: size, most: count)
    guard column.count == count else { throw BlockFault("a column has \(column.count) values instead of \(count)") }
    return column
  }

  private static func place(_ reader: inout ByteReader, _ size: Int, _ wanted: Int) throws(BlockFault) -> Int {
    let start = try reader.int(size)
    let count = try reader.int(size - start)
    guard count >= wanted else { throw BlockFault("a column is too short") }
    return start
  }
}
