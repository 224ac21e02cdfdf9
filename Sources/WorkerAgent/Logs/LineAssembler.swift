/// Cuts a stream of bytes into lines, bounded: a longer line comes out in numbered parts.
struct LineAssembler: Sendable {
  /// The longest plain line, bytes.
  static let lineBytes = 64 << 10
  /// The longest frame, bytes: a line of 64 KiB with JSON's escapes.
  static let frameBytes = 512 << 10

  /// Bytes of a line at most.
  let limit: Int
  private var rest: [UInt8] = []
  private var part = 0

  /// An assembler with no bytes yet.
  init(limit: Int = LineAssembler.lineBytes) { self.limit = max(1, limit) }

  /// Takes bytes and gives each line that they end or that reached the bound. `part` is 0 for a whole line, otherwise
  /// 1, 2 … for the pieces of a long one; the piece that ends at the line's own end is the last.
  mutating func feed(_ bytes: UnsafeRawBufferPointer, line: (_ bytes: UnsafeRawBufferPointer, _ part: Int) -> Void) {
    var start = 0
    while start < bytes.count {
      let room = limit - rest.count
      let window = UnsafeRawBufferPointer(rebasing: bytes[start..<min(bytes.count, start + room + 1)])
      if let end = window.firstIndex(of: 10) {
        let piece = UnsafeRawBufferPointer(rebasing: window[0..<end])
        emit(piece, ends: true, line)
        start += end + 1
      } else if window.count > room {
        emit(UnsafeRawBufferPointer(rebasing: window[0..<room]), ends: false, line)
        start += room
      } else {
        rest.append(contentsOf: window)
        start = bytes.count
      }
    }
  }

  /// Gives what was written without an end of line.
  mutating func finish(line: (_ bytes: UnsafeRawBufferPointer, _ part: Int) -> Void) {
    if !rest.isEmpty { emit(UnsafeRawBufferPointer(start: nil, count: 0), ends: true, line) }
    part = 0
  }

  private mutating func emit(
    _ piece: UnsafeRawBufferPointer, ends: Bool, _ line: (_ bytes: UnsafeRawBufferPointer, _ part: Int) -> Void
  ) {
    if part > 0 || !ends { part += 1 }
    let number = part
    if ends { part = 0 }
    if rest.isEmpty {
      line(Self.chomped(piece, ends), number)
      return
    }
    rest.append(contentsOf: piece)
    rest.withUnsafeBytes { line(Self.chomped($0, ends), number) }
    rest.removeAll(keepingCapacity: rest.capacity <= 4096)
  }

  /// A carriage return before the end of a line belongs to the end.
  private static func chomped(_ bytes: UnsafeRawBufferPointer, _ ends: Bool) -> UnsafeRawBufferPointer {
    guard ends, bytes.last == 13 else { return bytes }
    return UnsafeRawBufferPointer(rebasing: bytes[0..<bytes.count - 1])
  }
}
