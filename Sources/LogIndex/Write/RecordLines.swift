internal import Glibc

/// Lines in one piece and where each lies, without their breaks.
package struct RecordLines: Sendable {
  /// Where the line lies.
  struct Line {
    var start: Int
    var end: Int

    var count: Int { end - start }
  }

  let bytes: [UInt8]
  private(set) var lines: [Line] = []

  /// Bytes of all of them.
  package var bytesCount: Int { bytes.count }

  /// How many there are.
  package var count: Int { lines.count }

  /// The lines of NDJSON; empty ones are left out.
  package init(ndjson bytes: [UInt8]) {
    self.bytes = bytes
    lines.reserveCapacity(bytes.count / 256)
    bytes.withUnsafeBytes { text in
      guard let base = text.baseAddress else { return }
      var start = 0
      while start < text.count {
        let found = memchr(base + start, 10, text.count - start)
        let end = found.map { UnsafeRawPointer($0) - base } ?? text.count
        if end > start { lines.append(Line(start: start, end: end)) }
        start = end + 1
      }
    }
  }

  /// Lines one by one, empty ones too.
  package init(_ all: [[UInt8]]) {
    var joined: [UInt8] = []
    joined.reserveCapacity(all.reduce(0) { $0 + $1.count })
    lines.reserveCapacity(all.count)
    for line in all {
      lines.append(Line(start: joined.count, end: joined.count + line.count))
      joined += line
    }
    bytes = joined
  }

  /// The first line that has a text, which is no longer than 255 bytes; nil when none does.
  package func first(with text: [UInt8], from first: Int = 0) -> Int? {
    guard first < lines.count, let last = text.last, text.count <= 255 else { return nil }
    // How far the end of the text can go on when a byte stands there (Horspool).
    var skips = Array(repeating: text.count, count: 256)
    for (place, byte) in text.dropLast().enumerated() { skips[Int(byte)] = text.count - 1 - place }
    return bytes.withUnsafeBufferPointer { all in
      var line = first
      var end = lines[first].start + text.count - 1
      while end < all.count {
        if all[end] == last, all[(end + 1 - text.count)...end].elementsEqual(text) {
          let start = end + 1 - text.count
          while line < lines.count, lines[line].end <= start { line += 1 }
          guard line < lines.count else { return nil }
          // A text that goes over the end of a line is in none.
          if lines[line].start <= start, end < lines[line].end { return line }
        }
        end += skips[Int(all[end])]
      }
      return nil
    }
  }

  /// A line by its number.
  package subscript(_ number: Int) -> [UInt8] { Array(bytes[lines[number].start..<lines[number].end]) }
}
