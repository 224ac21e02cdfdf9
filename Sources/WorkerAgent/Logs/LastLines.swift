/// The last lines a pod wrote, for the message after its end: at most 20 lines and 4 KiB.
struct LastLines: Sendable {
  static let linesMaximum = 20
  static let bytesMaximum = 4096
  /// One line of more bytes keeps its beginning.
  static let lineBytesMaximum = 512

  private var lines: [[UInt8]] = []
  private var bytes = 0

  /// Remembers a line, and forgets the oldest ones beyond the bounds.
  mutating func append(_ line: some Collection<UInt8>) {
    let kept = Array(line.prefix(Self.lineBytesMaximum))
    lines.append(kept)
    bytes += kept.count + 1
    while lines.count > Self.linesMaximum || bytes > Self.bytesMaximum {
      bytes -= lines.removeFirst().count + 1
    }
  }

  /// Forgets everything: a new start begins.
  mutating func clear() {
    lines.removeAll(keepingCapacity: true)
    bytes = 0
  }

  /// The lines as text, oldest first, invalid UTF-8 replaced.
  var text: String {
    lines.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "\n")
  }
}
