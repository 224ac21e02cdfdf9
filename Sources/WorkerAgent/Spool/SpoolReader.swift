import Glibc

/// Reads a spool's records in order, from one number on; the shipper's cursor.
struct SpoolReader {
  /// Records of consecutive numbers.
  struct Batch: Hashable, Sendable {
    var first: UInt64
    var lines: [[UInt8]]
    var last: UInt64 { first + UInt64(lines.count) - 1 }
  }

  private var segment: UInt64 = 0
  private var next: UInt64 = 0
  private var offset = 0

  /// A reader at the beginning.
  init() {}

  /// The records after a number, at most `bytes` of them (at least one), or nil when there is none. `damaged` is told
  /// of a segment whose records cannot be read any more; it was set aside.
  mutating func batch(
    after sequence: UInt64, in spool: Spool, bytes limit: Int, damaged: (String) -> Void
  ) -> Batch? {
    while let segment = spool.segments.first(where: { $0.end > sequence + 1 && $0.count > 0 }) {
      let wanted = max(sequence + 1, segment.first)
      if self.segment != segment.first || next > wanted {
        self.segment = segment.first
        next = segment.first
        offset = 0
      }
      if let batch = read(segment, from: wanted, limit) { return batch }
      damaged(segment.path)
      spool.setAside(segment)
      self.segment = 0
    }
    return nil
  }

  private mutating func read(_ segment: Spool.Segment, from wanted: UInt64, _ limit: Int) -> Batch? {
    let fd = open(segment.path, O_RDONLY | O_CLOEXEC)
    guard fd >= 0 else { return nil }
    defer { close(fd) }
    var lines: [[UInt8]] = []
    var size = 0
    var window = Window(fd: fd, end: segment.bytes)
    while next < segment.end {
      guard let record = window.record(at: offset) else {
        return lines.isEmpty ? nil : Batch(first: wanted, lines: lines)
      }
      if next >= wanted {
        if !lines.isEmpty, size + record.count > limit { break }
        size += record.count
        lines.append(record)
      }
      offset += SpoolFrame.headBytes + record.count
      next += 1
    }
    return lines.isEmpty ? nil : Batch(first: wanted, lines: lines)
  }

  /// A part of the file in memory, so that one record is not one read.
  private struct Window {
    static let bytes = 256 << 10
    let fd: CInt
    let end: Int
    private var start = 0
    private var buffer: [UInt8] = []

    init(fd: CInt, end: Int) {
      self.fd = fd
      self.end = end
    }

    mutating func record(at offset: Int) -> [UInt8]? {
      if let record = held(at: offset) { return record }
      fill(at: offset, Self.bytes)
      if let record = held(at: offset) { return record }
      fill(at: offset, SpoolFrame.recordMaximum + SpoolFrame.headBytes)
      return held(at: offset)
    }

    private func held(at offset: Int) -> [UInt8]? {
      guard offset >= start, offset < start + buffer.count else { return nil }
      return buffer.withUnsafeBytes { SpoolFrame.record(in: $0, at: offset - start).map { [UInt8]($0) } }
    }

    private mutating func fill(at offset: Int, _ count: Int) {
      let wanted = min(count, end - offset)
      start = offset
      guard wanted > 0 else { return buffer = [] }
      buffer = [UInt8](unsafeUninitializedCapacity: wanted) { memory, filled in
        filled = max(0, pread(fd, memory.baseAddress, wanted, off_t(offset)))
      }
    }
  }
}
