/// All of a line but its values: what stands before, between and after them, and what kind of value stands in each gap.
struct Shape: Sendable, Equatable {
  struct Slot: Sendable, Equatable {
    var column: Int
    var kind: UInt8
  }

  /// One more than there are slots.
  var gaps: [[UInt8]]
  var slots: [Slot]

  /// A shape whose one value is the whole line.
  static func whole(column: Int) -> Shape {
    Shape(gaps: [[], []], slots: [Slot(column: column, kind: SlotKind.raw)])
  }

  func write(to meta: inout ByteWriter) {
    meta.varint(slots.count)
    for (gap, slot) in zip(gaps, slots) {
      meta.blob(gap)
      meta.varint(slot.column)
      meta.byte(slot.kind)
    }
    meta.blob(gaps[slots.count])
  }

  init(gaps: [[UInt8]], slots: [Slot]) {
    self.gaps = gaps
    self.slots = slots
  }

  init(_ reader: inout ByteReader, columns: Int) throws(BlockFault) {
    gaps = []
    slots = []
    for _ in 0..<(try reader.int(1 << 17)) {
      gaps.append(Array(try reader.blob()))
      let column = try reader.int(1 << 17)
      let kind = try reader.byte()
      guard SlotKind.isKnown(kind), SlotKind.isTime(kind) || column < columns else {
        throw BlockFault("a shape has an unknown value")
      }
      slots.append(Slot(column: column, kind: kind))
    }
    gaps.append(Array(try reader.blob()))
  }

  /// Whether this is the shape of a line that could not be taken apart.
  var isWhole: Bool { slots.count == 1 && gaps == [[], []] }
}

/// Where the fields of records of one shape are, found by reading a record of it as any record is read.
struct ShapeFields: Sendable {
  enum Place: Sendable, Equatable {
    case absent, null
    case slot(Int)
    /// The record must be put together to know.
    case unknown
  }

  private let places: [LogField: Place]
  private let isKnown: Bool

  init(_ shape: Shape) {
    var line: [UInt8] = []
    var starts: [Int: Int] = [:]
    for (number, slot) in shape.slots.enumerated() {
      line += shape.gaps[number]
      starts[line.count] = number
      line += Self.sample(slot.kind)
    }
    line += shape.gaps[shape.slots.count]
    guard !shape.isWhole, let record = try? IndexedRecord(line) else {
      // A record whose time is spelled oddly does not read with a sample in its place.
      places = [:]
      isKnown = false
      return
    }
    var places: [LogField: Place] = [:]
    func place(_ span: JSONSpan) -> Place {
      if span.kind == .null { return .null }
      return starts[span.start].map { .slot($0) } ?? .unknown
    }
    for field in ReservedField.allCases { places[.reserved(field)] = record.span(field).map(place) ?? .absent }
    // Of a key that is there twice the last counts.
    for field in record.fields {
      places[.user(String(decoding: record.key(field), as: UTF8.self))] = place(field.value)
    }
    self.places = places
    isKnown = true
  }

  /// Every field that is there, of a shape that is known.
  var all: [LogField: Place]? { isKnown ? places : nil }

  func place(_ field: LogField) -> Place { isKnown ? places[field] ?? .absent : .unknown }

  private static func sample(_ kind: UInt8) -> [UInt8] {
    switch kind {
    case SlotKind.string: Array("x".utf8)
    case SlotKind.number: [0x30]
    case SlotKind.word: Array("true".utf8)
    case SlotKind.raw: Array("[]".utf8)
    default: Array("2026-01-01T00:00:00Z".utf8)
    }
  }
}
