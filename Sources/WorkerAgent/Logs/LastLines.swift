import ClusterModel

/// The last lines a pod wrote, for the message after its end: at most 20 lines and 4 KiB.
struct LastLines: Sendable {
  static let linesMaximum = 20
  static let bytesMaximum = 4096
  /// One line of more bytes keeps its beginning.
  static let lineBytesMaximum = 512
  /// Bytes of a line's beginning that are searched for secrets.
  static let searchedBytes = 4096
  /// Bytes at the end of what was searched that may hold the beginning of a secret which only its rest would tell.
  private static let unsureBytes = 1024

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

  /// Remembers a line with what is secret masked: these lines are told with the pod's end. What that costs does not
  /// grow with the line.
  mutating func append(_ line: UnsafeRawBufferPointer, _ masks: LogMasks) {
    let head = UnsafeRawBufferPointer(rebasing: line.prefix(Self.searchedBytes))
    guard masks.mayHold(head) else { return append(head) }
    let masked = masks.masked(String(decoding: head, as: UTF8.self))
    // Long secrets that were masked may bring near what stands at the cut.
    let isWhole = head.count == line.count || masked.hasSuffix(LogMasks.mask)
    append(masked.utf8.dropLast(isWhole ? 0 : Self.unsureBytes))
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
