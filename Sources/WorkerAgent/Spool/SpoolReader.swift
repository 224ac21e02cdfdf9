import Glibc

/// Reads a spool's records in order, from one number on; the shipper's cursor.
struct SpoolReader {
  /// Records of consecutive numbers.
  struct Batch: Hashable, Sendable {
    var first: UInt64
    var lines: [[UInt8]]
    var last: UInt64 { first + UInt64(lines.count) - 1 }
  }

  /// After so many tries what the disk cannot read counts as damaged.
  static let failuresMaximum = 32

  private var segment: UInt64 = 0
  private var next: UInt64 = 0
  private var offset = 0
  private var failures = 0

  /// A reader at the beginning.
  init() {}

  /// The records after a number, at most `bytes` of them (at least one), or nil when there is none. `damaged` is told
  /// of a segment whose records cannot be read any more; it was set aside. Throws when the system does not let it be read
  /// now, as when there are no descriptors left.
  mutating func batch(
    after sequence: UInt64, in spool: Spool, bytes limit: Int, damaged: (String) -> Void
  ) throws(WorkerError) -> Batch? {
    while let segment = spool.segments.first(where: { $0.end > sequence + 1 && $0.count > 0 }) {
      let wanted = max(sequence + 1, segment.first)
      if self.segment != segment.first || next > wanted {
        self.segment = segment.first
        next = segment.first
        offset = 0
      }
      if let batch = try readable(segment, from: wanted, limit) { return batch }
      damaged(segment.path)
      spool.setAside(segment)
      self.segment = 0
    }
    return nil
  }

  /// What `read` answers; nil also for a file that is gone, or that the disk could not read again and again.
  private mutating func readable(
    _ segment: Spool.Segment, from wanted: UInt64, _ limit: Int
  ) throws(WorkerError) -> Batch? {
    do throws(WorkerError) {
      let batch = try read(segment, from: wanted, limit)
      failures = 0
      return batch
    } catch {
      guard case .system(_, let code) = error, code != ENOENT else { return nil }
      failures += 1
      guard code == EIO, failures >= Self.failuresMaximum else { throw error }
      failures = 0
      return nil
    }
  }

  private mutating func read(
    _ segment: Spool.Segment, from wanted: UInt64, _ limit: Int
  ) throws(WorkerError) -> Batch? {
    let fd = open(segment.path, O_RDONLY | O_CLOEXEC)
    guard fd >= 0 else { throw .errno("opening \(segment.path)") }
    defer { close(fd) }
    var lines: [[UInt8]] = []
    var size = 0
    var window = Window(fd: fd, path: segment.path, end: segment.bytes)
    while next < segment.end {
      guard let record = try window.record(at: offset) else {
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
    let path: String
    let end: Int
    private var start = 0
    private var buffer: [UInt8] = []

    init(fd: CInt, path: String, end: Int) {
      self.fd = fd
      self.path = path
      self.end = end
    }

    mutating func record(at offset: Int) throws(WorkerError) -> [UInt8]? {
      if let record = held(at: offset) { return record }
      try fill(at: offset, Self.bytes)
      if let record = held(at: offset) { return record }
      try fill(at: offset, SpoolFrame.recordMaximum + SpoolFrame.headBytes)
      return held(at: offset)
    }

    private func held(at offset: Int) -> [UInt8]? {
      guard offset >= start, offset < start + buffer.count else { return nil }
      return buffer.withUnsafeBytes { SpoolFrame.record(in: $0, at: offset - start).map { [UInt8]($0) } }
    }

    private mutating func fill(at offset: Int, _ count: Int) throws(WorkerError) {
      let wanted = min(count, end - offset)
      start = offset
      guard wanted > 0 else { return buffer = [] }
      var failure: WorkerError?
      buffer = [UInt8](unsafeUninitializedCapacity: wanted) { memory, filled in
        var count = pread(fd, memory.baseAddress, wanted, off_t(offset))
        while count < 0, errno == EINTR { count = pread(fd, memory.baseAddress, wanted, off_t(offset)) }
        if count < 0 { failure = .errno("reading \(path)") }
        filled = max(0, count)
      }
      if let failure { throw failure }
    }
  }
}
