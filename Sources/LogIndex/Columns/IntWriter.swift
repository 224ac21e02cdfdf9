internal import Glibc

/// How a run of integers is stored; the raw value stands in the file.
enum IntForm: UInt8 {
  /// All alike.
  case constant = 0
  /// The distance from the least, all in the same number of bits.
  case packed = 1
  /// The number of bits of each, compressed, and then the bits.
  case sized = 2
  /// Runs of equal values.
  case runs = 3
  /// One or two bytes each, low bytes first, compressed.
  case bytes = 4

  /// Runs of runs: lengths and values of runs may be runs again, this many times. A reader refuses what is deeper.
  static let depthMaximum = 8
}

/// Stores integers in the smallest of the forms.
enum IntWriter {
  private struct Shape {
    var least: UInt64 = .max
    var most: UInt64 = 0
    var runs = 0
    var sizes = [Int](repeating: 0, count: 65)

    init(_ values: [UInt64]) {
      var previous: UInt64?
      for value in values {
        least = min(least, value)
        most = max(most, value)
        if value != previous { runs += 1 }
        previous = value
      }
      if least == most { return }
      let least = least
      sizes.withUnsafeMutableBufferPointer { sizes in
        for value in values { sizes[BitWriter.width(value &- least)] += 1 }
      }
    }

    /// Bytes of the form `sized`, its sizes at their entropy.
    var sizedBytes: Double {
      let total = Double(sizes.reduce(0, +))
      var bits = 0.0
      for (size, count) in sizes.enumerated() where count > 0 {
        bits += Double(count) * (Double(max(0, size - 1)) - log2(Double(count) / total) * 1.06)
      }
      return bits / 8 + 24
    }
  }

  static func write(_ values: [UInt64], to parts: inout BlockParts, depth: Int = 0) {
    let shape = Shape(values)
    parts.meta.varint(values.count)
    guard !values.isEmpty, shape.least != shape.most else {
      parts.meta.byte(IntForm.constant.rawValue)
      parts.meta.varint(values.first ?? 0)
      return
    }
    let width = BitWriter.width(shape.most - shape.least)
    if parts.isPlain { return writePacked(values, shape.least, width, to: &parts) }
    let packed = Double(values.count * width) / 8 + 2
    if values.count >= 16, depth < IntForm.depthMaximum, Double(shape.runs * (width + 12)) / 8 + 8 < packed * 0.5 {
      writeRuns(values, runs: shape.runs, to: &parts, depth: depth + 1)
      return
    }
    let sized = values.count >= 64 ? shape.sizedBytes : .infinity
    let best = min(packed, sized)
    if values.count >= 128, width <= 16, let bytes = compressed(values, shape.least, width, parts.level),
      Double(bytes.count) < best * 0.85
    {
      parts.meta.byte(IntForm.bytes.rawValue)
      parts.meta.varint(shape.least)
      parts.meta.byte(width <= 8 ? 1 : 2)
      parts.place(bytes)
    } else if sized < packed * 0.93 {
      writeSized(values, shape.least, to: &parts)
    } else {
      writePacked(values, shape.least, width, to: &parts)
    }
  }

  private static func writePacked(_ values: [UInt64], _ least: UInt64, _ width: Int, to parts: inout BlockParts) {
    parts.meta.byte(IntForm.packed.rawValue)
    parts.meta.varint(least)
    parts.meta.byte(UInt8(width))
    var bits = BitWriter()
    for value in values { bits.append(value - least, width: width) }
    bits.align()
    parts.place(bits.bytes)
  }

  private static func compressed(_ values: [UInt64], _ least: UInt64, _ width: Int, _ level: Int32) -> [UInt8]? {
    var raw = [UInt8]()
    raw.reserveCapacity(values.count * 2)
    for value in values { raw.append(UInt8(truncatingIfNeeded: value - least)) }
    if width > 8 { for value in values { raw.append(UInt8(truncatingIfNeeded: (value - least) >> 8)) } }
    return Deflate.compress(raw, level: level)
  }

  private static func writeSized(_ values: [UInt64], _ least: UInt64, to parts: inout BlockParts) {
    var sizes = [UInt8]()
    sizes.reserveCapacity(values.count)
    var bits = BitWriter()
    for value in values {
      let size = BitWriter.width(value - least)
      sizes.append(UInt8(size))
      // The highest bit of a value is always set and need not be kept.
      if size > 1 { bits.append(value - least, width: size - 1) }
    }
    bits.align()
    parts.meta.byte(IntForm.sized.rawValue)
    parts.meta.varint(least)
    let packed = Deflate.compress(sizes, level: parts.level)
    parts.meta.byte(packed == nil ? 0 : 1)
    parts.place(packed ?? sizes)
    parts.place(bits.bytes)
  }

  private static func writeRuns(_ values: [UInt64], runs: Int, to parts: inout BlockParts, depth: Int) {
    var heads: [UInt64] = []
    var lengths: [UInt64] = []
    heads.reserveCapacity(runs)
    var start = 0
    for index in values.indices where index + 1 == values.count || values[index + 1] != values[index] {
      heads.append(values[index])
      lengths.append(UInt64(index + 1 - start))
      start = index + 1
    }
    parts.meta.byte(IntForm.runs.rawValue)
    write(heads, to: &parts, depth: depth)
    write(lengths, to: &parts, depth: depth)
  }
}
