import Glibc
import Synchronization

/// The bounds of a spool.
package struct SpoolLimits: Hashable, Sendable {
  /// Bytes of all segments together; beyond it new records are refused (and counted by the journal).
  package var bytes: Int
  /// Bytes after which a new segment is begun.
  package var segmentBytes: Int

  /// By default 256 MiB in segments of 8 MiB.
  package init(bytes: Int = 256 << 20, segmentBytes: Int = 8 << 20) {
    self.bytes = max(bytes, 1 << 16)
    self.segmentBytes = min(max(segmentBytes, 1 << 12), max(bytes / 4, 1 << 12))
  }
}

/// Log records on disk until the log service has them: append-only segment files, each record with a number that is
/// never used twice, also not after a crash.
///
/// A record is in the kernel (`write`) when `append` returns, so it survives the death of this process. After the death
/// of the machine the last seconds may be missing; the numbers then go on far beyond any that may have been sent.
final class Spool: Sendable {
  /// Added to the numbers after the machine was started anew.
  static let bootGap: UInt64 = 1_000_000

  /// A file of records `first` …< `first + count`.
  struct Segment: Hashable, Sendable {
    var first: UInt64
    var count: UInt64
    /// Bytes of whole records; what a crash left behind them was cut off.
    var bytes: Int
    var path: String
    /// The number after the last.
    var end: UInt64 { first + count }
  }

  private struct State {
    var segments: [Segment] = []
    var next: UInt64 = 1
    var acknowledged: UInt64 = 0
    var active: CInt = -1
    var ackFile: CInt = -1
    var failedWrites = 0
  }

  /// Eight hexadecimal digits, made with the spool.
  let id: String
  /// Says that there is something to send.
  let signal: AsyncStream<Void>
  /// Damage found while opening, for the log.
  let damage: [String]

  private let directory: String
  private let limits: SpoolLimits
  private let state: Mutex<State>
  private let lockFile: CInt
  private let signalEnd: AsyncStream<Void>.Continuation

  /// Opens or makes the spool in a folder; cuts off what a crash left half-written. Only one process may have it.
  init(directory: String, limits: SpoolLimits = SpoolLimits(), bootID: String = Spool.currentBoot()) throws(WorkerError)
  {
    self.directory = directory
    self.limits = limits
    try Descriptors.makeFolder(directory, mode: 0o700)
    lockFile = try Self.lock("\(directory)/lock")
    var state = State()
    var damage: [String] = []
    do throws(WorkerError) {
      id = try Self.identity(directory)
      state.acknowledged = Self.readAcknowledged("\(directory)/acked")
      state.segments = try Self.recover(directory, &damage)
      state.next = max(state.segments.last?.end ?? 1, state.acknowledged + 1)
      try Self.noteBoot(directory, bootID, &state)
      state.ackFile = open("\(directory)/acked", O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
      guard state.ackFile >= 0 else { throw .errno("opening \(directory)/acked") }
    } catch {
      Self.unlock(lockFile)
      throw error
    }
    self.damage = damage
    self.state = Mutex(state)
    (signal, signalEnd) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    if state.next > state.acknowledged + 1 { signalEnd.yield() }
  }

  deinit {
    state.withLock { state in
      if state.active >= 0 { close(state.active) }
      if state.ackFile >= 0 { close(state.ackFile) }
    }
    Self.unlock(lockFile)
  }

  /// The number of the last record, 0 before the first.
  var last: UInt64 { state.withLock { $0.next - 1 } }
  /// The highest number the log service has.
  var acknowledged: UInt64 { state.withLock { $0.acknowledged } }
  /// The segments as they are now.
  var segments: [Segment] { state.withLock { $0.segments } }

  /// Writes records, in order; answers how many were taken (a prefix: the rest found no room). Never throws: a full
  /// disk is a full spool.
  func append(_ records: [[UInt8]]) -> Int {
    let taken = state.withLock { state -> Int in
      var taken = 0
      while taken < records.count {
        let run = write(records[taken...], &state)
        if run == 0 { break }
        taken += run
      }
      return taken
    }
    if taken > 0 { signalEnd.yield() }
    return taken
  }

  /// Notes that the log service has everything up to a number, and removes the segments it no longer needs.
  func acknowledge(_ sequence: UInt64) {
    let done = state.withLock { state -> [Segment] in
      // A service that knows numbers we do not: it outlived our disk. Never use them for something else.
      guard sequence < UInt64.max / 2 else { return [] }
      if sequence >= state.next {
        state.next = sequence + 1
        closeActive(&state)
      }
      guard sequence > state.acknowledged else { return [] }
      state.acknowledged = sequence
      Self.writeAcknowledged(sequence, to: state.ackFile)
      if let last = state.segments.last, last.end <= sequence + 1, last.bytes >= limits.segmentBytes / 2 {
        closeActive(&state)
      }
      let keepsActive = state.active >= 0
      let done = state.segments.filter { $0.end <= sequence + 1 && !(keepsActive && $0 == state.segments.last) }
      state.segments.removeAll { done.contains($0) }
      return done
    }
    for segment in done { unlink(segment.path) }
  }

  /// Sets a damaged segment aside, so that the records behind it can be sent.
  func setAside(_ segment: Segment) {
    state.withLock { state in
      if state.segments.last?.first == segment.first { closeActive(&state) }
      state.segments.removeAll { $0.first == segment.first }
    }
    rename(segment.path, "\(segment.path).damaged")
  }

  /// Ends `signal`: nothing more will be appended.
  func finish() { signalEnd.finish() }

  private func write(_ records: ArraySlice<[UInt8]>, _ state: inout State) -> Int {
    let total = state.segments.reduce(0) { $0 + $1.bytes }
    let room = limits.bytes - total
    if state.active < 0 || (state.segments.last?.bytes ?? 0) >= limits.segmentBytes {
      guard room > 0, begin(&state) else { return 0 }
    }
    guard let index = state.segments.indices.last else { return 0 }
    let segmentRoom = limits.segmentBytes - state.segments[index].bytes
    var bytes: [UInt8] = []
    var count = 0
    for record in records {
      let size = record.count + SpoolFrame.headBytes
      guard record.count <= SpoolFrame.recordMaximum, bytes.count + size <= room else { break }
      if count > 0, bytes.count + size > segmentRoom { break }
      SpoolFrame.write(record, into: &bytes)
      count += 1
    }
    guard count > 0, writeAll(bytes, state.active) else {
      if count > 0 {
        // No room on the disk: what was written in part is cut off again.
        ftruncate(state.active, off_t(state.segments[index].bytes))
        lseek(state.active, off_t(state.segments[index].bytes), SEEK_SET)
        state.failedWrites += 1
      }
      return 0
    }
    state.segments[index].bytes += bytes.count
    state.segments[index].count += UInt64(count)
    state.next += UInt64(count)
    return count
  }

  private func begin(_ state: inout State) -> Bool {
    closeActive(&state)
    let path = "\(directory)/\(Self.name(state.next))"
    let fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard fd >= 0 else { return false }
    state.active = fd
    state.segments.append(Segment(first: state.next, count: 0, bytes: 0, path: path))
    return true
  }

  private func closeActive(_ state: inout State) {
    if state.active >= 0 { close(state.active) }
    state.active = -1
    if let last = state.segments.last, last.count == 0 {
      unlink(last.path)
      state.segments.removeLast()
    }
  }

  private func writeAll(_ bytes: [UInt8], _ fd: CInt) -> Bool {
    bytes.withUnsafeBytes { buffer in
      var done = 0
      while done < buffer.count {
        let count = Glibc.write(fd, buffer.baseAddress?.advanced(by: done), buffer.count - done)
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { return false }
        done += count
      }
      return true
    }
  }
}

// MARK: opening

extension Spool {
  /// The identity of the kernel's current run.
  static func currentBoot() -> String {
    String(decoding: Descriptors.contents(of: "/proc/sys/kernel/random/boot_id") ?? [], as: UTF8.self)
      .split(separator: "\n").first.map(String.init) ?? ""
  }

  private static func name(_ first: UInt64) -> String {
    let digits = String(first)
    return String(repeating: "0", count: 20 - digits.count) + digits + ".spool"
  }

  private static func lock(_ path: String) throws(WorkerError) -> CInt {
    let fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard fd >= 0 else { throw .errno("opening \(path)") }
    guard flock(fd, LOCK_EX | LOCK_NB) == 0 else {
      close(fd)
      throw .failed("another worker uses \(path): give each worker a data directory of its own (--data)")
    }
    return fd
  }

  /// Given up and not only closed: a child that was forked and has executed nothing yet would still hold it.
  private static func unlock(_ fd: CInt) {
    _ = flock(fd, LOCK_UN)
    close(fd)
  }

  private static func identity(_ directory: String) throws(WorkerError) -> String {
    let known = String(decoding: Descriptors.contents(of: "\(directory)/id") ?? [], as: UTF8.self)
    if known.utf8.count == 8 { return known }
    let made = String(UInt32.random(in: .min ... .max), radix: 16)
    let id = String(repeating: "0", count: 8 - made.count) + made
    try Descriptors.replace("\(directory)/id", with: Array(id.utf8))
    return id
  }

  /// Leaves the gap after a boot that is not the one noted, and notes with the new one where numbers begin: they do so at
  /// every start until there are records of that boot.
  private static func noteBoot(_ directory: String, _ boot: String, _ state: inout State) throws(WorkerError) {
    let path = "\(directory)/boot"
    let lines = Descriptors.contents(of: path).map {
      String(decoding: $0, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
    }
    let known = lines?.first.map(String.init)
    if let lines, lines.count > 1, let least = UInt64(lines[1]), least < .max / 2 {
      state.next = max(state.next, least)
    }
    if let known, known != boot { state.next += bootGap }
    if known != boot { try Descriptors.replace(path, with: Array("\(boot)\n\(state.next)".utf8)) }
  }

  private static func readAcknowledged(_ path: String) -> UInt64 {
    guard let bytes = Descriptors.contents(of: path), bytes.count == 16 else { return 0 }
    return bytes.withUnsafeBytes { buffer in
      let value = buffer.loadUnaligned(fromByteOffset: 0, as: UInt64.self)
      let complement = buffer.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
      // Too low a number only means that something is sent again, which the service ignores.
      return value == ~complement ? value : 0
    }
  }

  private static func writeAcknowledged(_ value: UInt64, to fd: CInt) {
    withUnsafeBytes(of: (value, ~value)) { _ = pwrite(fd, $0.baseAddress, 16, 0) }
  }

  /// Finds the segments in order and how much of each is whole; a torn end is cut, a damaged file set aside.
  /// Throws when one cannot be read now.
  private static func recover(_ directory: String, _ damage: inout [String]) throws(WorkerError) -> [Segment] {
    let names = Descriptors.names(in: directory).filter { $0.hasSuffix(".spool") }.sorted()
    var segments: [Segment] = []
    for name in names {
      let path = "\(directory)/\(name)"
      guard let first = UInt64(name.dropLast(6)), first > 0, first >= segments.last?.end ?? 1 else {
        rename(path, "\(path).damaged")
        damage.append("\(path) was set aside: its number overlaps the segment before")
        continue
      }
      let (count, bytes, size) = try scan(path)
      if bytes < size {
        if size - bytes > SpoolFrame.recordMaximum { damage.append("\(path) was cut at byte \(bytes) of \(size)") }
        truncate(path, off_t(bytes))
      }
      if count == 0 {
        unlink(path)
      } else {
        segments.append(Segment(first: first, count: count, bytes: bytes, path: path))
      }
    }
    return segments
  }

  /// Whole records, their bytes, and the file's size.
  private static func scan(_ path: String) throws(WorkerError) -> (count: UInt64, bytes: Int, size: Int) {
    try MappedFile(path).withBytes { bytes in
      var offset = 0
      var count: UInt64 = 0
      while let record = SpoolFrame.record(in: bytes, at: offset) {
        offset += SpoolFrame.headBytes + record.count
        count += 1
      }
      return (count, offset, bytes.count)
    }
  }
}
