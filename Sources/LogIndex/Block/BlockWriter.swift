internal import Glibc

/// Turns a memtable into the bytes of a block's file. Pure: the same records give the same bytes.
struct BlockWriter {
  private let table: Memtable
  private let count: Int
  private let base: UnsafePointer<UInt8>
  private let level: Int32
  /// Whether lines are kept whole, as texts.
  private let keepsLines: Bool
  private var shapes = ShapeTable()
  /// The shape of each record, by arrival.
  private var rowShapes: [UInt32] = []
  /// Where each record's values begin among all spans, by arrival.
  private var rowSpans: [UInt32] = []
  private var spans: [Span] = []
  /// The records by namespace, function and arrival.
  private var order: [UInt32] = []
  private var tokens = TokenSet()

  init(_ table: Memtable, level: Int32, keepsLines: Bool = false) {
    self.table = table
    self.level = level
    self.keepsLines = keepsLines
    count = table.readable.rows
    base = table.base
  }

  /// The file; `workers` are the sequences that are acknowledged with it.
  mutating func file(workers: [String: UInt64]) -> [UInt8] {
    takeApart()
    var columns = gather()
    var parts = BlockParts(level: level, isPlain: keepsLines)
    writeWorkers(workers, to: &parts)
    parts.meta.varint(shapes.columns.count)
    parts.meta.varint(shapes.shapes.count)
    for shape in shapes.shapes { shape.write(to: &parts.meta) }
    IntWriter.write(order.map { UInt64(rowShapes[Int($0)]) }, to: &parts)
    writeTimes(to: &parts)
    let references = TemplateReferences(
      shapes: shapes, order: order, rowShapes: rowShapes, rowSpans: rowSpans, spans: self.spans)
    let fields = describedFields()
    for number in columns.indices {
      write(columns[number], number, fields[number] ?? [], references, to: &parts)
      // The memory of one is the next one's.
      columns[number] = []
    }
    return assemble(parts)
  }

  /// Reads every record once: its shape, its values, and its place in the order of the block.
  private mutating func takeApart() {
    var scanner = LineScanner()
    var keys = SpanTable()
    var keyOf: [UInt32] = []
    var namespaces: [UInt64: Int] = [:]
    var pairs: [(namespace: Span, function: Span)] = []
    rowShapes.reserveCapacity(count)
    rowSpans.reserveCapacity(count)
    keyOf.reserveCapacity(count)
    spans.reserveCapacity(count * 14)
    for index in 0..<count {
      let row = table.row(index)
      let start = Int(row.start)
      rowSpans.append(UInt32(truncatingIfNeeded: spans.count))
      guard !keepsLines, scanner.scan(base + start, Int(row.length)) else {
        // What the memtable took scans; a line that does not is kept whole all the same.
        rowShapes.append(0)
        spans.append(Span(start, start + Int(row.length)))
        keyOf.append(0)
        continue
      }
      let shape = shapes.number(scanner.slots, base + start, Int(row.length))
      rowShapes.append(UInt32(shape))
      if shape == 0 {
        spans.append(Span(start, start + Int(row.length)))
      } else {
        for slot in scanner.slots { spans.append(Span(start + Int(slot.start), start + Int(slot.end))) }
      }
      func span(_ slot: Int) -> Span {
        slot < 0 ? Span(0, 0) : Span(start + Int(scanner.slots[slot].start), start + Int(scanner.slots[slot].end))
      }
      let (namespace, function) = (span(scanner.namespace), span(scanner.function))
      let pair = UInt64(keys.number(namespace, base)) << 32 | UInt64(keys.number(function, base))
      let number = namespaces[pair] ?? pairs.count
      if number == pairs.count {
        namespaces[pair] = number
        pairs.append((namespace, function))
      }
      keyOf.append(UInt32(number))
    }
    sort(keyOf, pairs)
  }

  /// Orders the records by namespace and function, those of one function by arrival.
  private mutating func sort(_ keyOf: [UInt32], _ pairs: [(namespace: Span, function: Span)]) {
    let base = base
    func isBefore(_ left: Span, _ right: Span) -> Bool? {
      let order = memcmp(base + Int(left.start), base + Int(right.start), Int(min(left.length, right.length)))
      if order != 0 { return order < 0 }
      return left.length == right.length ? nil : left.length < right.length
    }
    let sorted = pairs.indices.sorted { left, right in
      isBefore(pairs[left].namespace, pairs[right].namespace)
        ?? isBefore(pairs[left].function, pairs[right].function) ?? (left < right)
    }
    var starts = Array(repeating: 0, count: max(1, pairs.count) + 1)
    var ranks = Array(repeating: 0, count: max(1, pairs.count))
    for (rank, pair) in sorted.enumerated() { ranks[pair] = rank }
    for key in keyOf { starts[ranks[Int(key)] + 1] += 1 }
    for rank in 1..<starts.count { starts[rank] += starts[rank - 1] }
    order = Array(repeating: 0, count: count)
    for (index, key) in keyOf.enumerated() {
      order[starts[ranks[Int(key)]]] = UInt32(truncatingIfNeeded: index)
      starts[ranks[Int(key)]] += 1
    }
  }

  /// The values of each column, in the order of the block.
  private func gather() -> [[Span]] {
    var counts = Array(repeating: 0, count: shapes.columns.count)
    var perShape = Array(repeating: 0, count: shapes.shapes.count)
    for shape in rowShapes { perShape[Int(shape)] += 1 }
    for (shape, rows) in zip(shapes.shapes, perShape) {
      for slot in shape.slots where !SlotKind.isTime(slot.kind) { counts[slot.column] += rows }
    }
    var columns = counts.map { count in
      var spans: [Span] = []
      spans.reserveCapacity(count)
      return spans
    }
    let slots = shapes.shapes.map { shape in
      shape.slots.enumerated().filter { !SlotKind.isTime($0.element.kind) }.map { ($0.offset, $0.element.column) }
    }
    for row in order {
      let start = Int(rowSpans[Int(row)])
      for (offset, column) in slots[Int(rowShapes[Int(row)])] { columns[column].append(spans[start + offset]) }
    }
    return columns
  }

  private func writeWorkers(_ workers: [String: UInt64], to parts: inout BlockParts) {
    parts.meta.varint(workers.count)
    for (name, acked) in workers.sorted(by: { $0.key < $1.key }) {
      parts.meta.blob(Array(name.utf8))
      parts.meta.varint(acked)
    }
  }

  /// Times by arrival, as differences, and the arrival of each record of the block, as differences.
  private func writeTimes(to parts: inout BlockParts) {
    var times: [UInt64] = []
    times.reserveCapacity(count)
    var previous = table.readable.oldest
    for index in 0..<count {
      let time = table.row(index).time
      times.append(ZigZag.encode(time &- previous))
      previous = time
    }
    IntWriter.write(times, to: &parts)
    var arrivals: [UInt64] = []
    arrivals.reserveCapacity(count)
    var last: Int64 = -1
    for row in order {
      arrivals.append(ZigZag.encode(Int64(row) - last - 1))
      last = Int64(row)
    }
    IntWriter.write(arrivals, to: &parts)
  }

  private mutating func write(
    _ spans: [Span], _ number: Int, _ fields: Set<LogField>, _ references: TemplateReferences,
    to parts: inout BlockParts
  ) {
    let column = shapes.columns[number]
    let list = ListWriter(base: base)
    if keepsLines {
      parts.meta.varint(spans.count)
      return list.writeText(spans, to: &parts)
    }
    let survey = list.survey(spans)
    describe(fields, survey.distinct?.spans ?? (column.role == .call ? spans : nil))
    let isText = column.kind == SlotKind.string && column.role != .call
    guard isText, spans.count >= 16, survey.distinct == nil, !survey.isTyped else {
      if column.role == .msg {
        for span in survey.distinct?.spans ?? spans { tokens.insertWords(span.bytes(base)) }
      }
      return list.write(spans, survey, to: &parts)
    }
    parts.meta.varint(spans.count)
    var source = column.role == .msg ? references.source(column: number) : .none
    var words: TokenSet?
    if column.role == .msg {
      words = tokens
      tokens = TokenSet()
    }
    var writer = TemplateWriter(base: base)
    writer.write(spans, references: &source, words: &words, to: &parts)
    if let words { tokens = words }
  }
}

extension BlockWriter {
  /// The fields whose values each column holds; the filter is told of those it cannot know.
  private mutating func describedFields() -> [Int: Set<LogField>] {
    if rowShapes.contains(0) { tokens.insert(BloomToken.openRecords) }
    var fields: [Int: Set<LogField>] = [:]
    for shape in shapes.shapes.dropFirst() {
      guard let places = ShapeFields(shape).all else {
        tokens.insert(BloomToken.openRecords)
        continue
      }
      for (field, place) in places {
        switch place {
        case .absent, .null: break
        case .unknown: openField(field)
        case .slot(let slot):
          let kind = shape.slots[slot].kind
          if field == .reserved(.msg) {
            if kind != SlotKind.string { openField(field) }
          } else if kind == SlotKind.string {
            fields[shape.slots[slot].column, default: []].insert(field)
          } else if kind != SlotKind.number && !SlotKind.isTime(kind) {
            openField(field)
          }
        }
      }
    }
    return fields
  }

  /// Tells the filter the values that fields have, or that it does not know them.
  private mutating func describe(_ fields: Set<LogField>, _ values: [Span]?) {
    for name in fields {
      guard let values else {
        openField(name)
        continue
      }
      let seed = BloomToken.values(of: name)
      for span in values {
        let raw = span.bytes(base)
        tokens.insert(
          raw.contains(0x5C)
            ? BloomToken.value(seed, JSONText.unescaped(Array(raw)[...])) : BloomToken.value(seed, raw))
      }
    }
  }

  private mutating func openField(_ field: LogField) {
    tokens.insert(field == .reserved(.msg) ? BloomToken.openWords : BloomToken.open(field))
  }

  private func assemble(_ built: BlockParts) -> [UInt8] {
    var parts = built
    parts.heap.flush()
    parts.meta.varint(parts.heap.chunks)
    parts.meta.raw(parts.heap.directory.bytes)
    let filter = Array(BloomFilter(tokens: tokens.tokens).bytes)
    let meta = Deflate.compress(parts.meta.bytes, level: 6) ?? parts.meta.bytes
    var places: [BlockHeader.Part] = []
    var start = BlockHeader.bytes
    for part in [filter, meta, parts.data, parts.heap.bytes] {
      places.append(BlockHeader.Part(start: start, count: part.count, crc: Deflate.crc(part[...])))
      start += part.count
    }
    let extent = table.readable
    let header = BlockHeader(
      rows: count, rawBytes: extent.bytes, oldest: extent.oldest, newest: extent.newest, firstID: table.firstID,
      levels: extent.levels, metaBytes: parts.meta.count, texts: parts.heap.count, parts: places)
    var file = header.encoded()
    file.reserveCapacity(start)
    file += filter
    file += meta
    file += parts.data
    file += parts.heap.bytes
    return file
  }
}
