import Glibc
import Synchronization

/// The write end of the frame pipe: one JSON object a line, one write a line.
package final class Frames: Sendable {
  /// The largest frame, in bytes.
  package static let frameBytes = 256 * 1024
  private let descriptor: Int32
  private let lock = Mutex(())

  /// Frames written to a descriptor that the caller keeps open.
  package init(descriptor: Int32) { self.descriptor = descriptor }

  /// Writes one frame. If nobody reads the pipe any more the frame is lost and the function goes on.
  func send(_ frame: [UInt8]) {
    lock.withLock { _ in
      var sent = 0
      while sent < frame.count {
        let count = frame.withUnsafeBytes { write(descriptor, $0.baseAddress?.advanced(by: sent), frame.count - sent) }
        if count < 0, errno == EINTR { continue }
        if count <= 0 { return }
        sent += count
      }
    }
  }
}

/// The output of one call: cuts what is written into lines and sends each as a frame with the call's id.
package final class CallOutput: Sendable {
  /// Where a line was written.
  package enum Stream: Int, Sendable, CaseIterable {
    case stdout, stderr
  }

  private struct Pending {
    var bytes: [UInt8] = []
    var part = 0
    var lastLine: [UInt8] = []
  }

  /// A longer line is sent in parts of this many bytes.
  static let lineBytes = 64 * 1024
  /// The same for text that JSON escapes to many times its size.
  static let denseBytes = 40 * 1024
  static let messageBytes = 64 * 1024
  private static let lastLineBytes = 512

  private let frames: Frames
  private let prefix: [UInt8]
  private let pending = Mutex([Pending(), Pending()])

  /// The output of a call; an empty id writes frames without one.
  package init(frames: Frames, call: String) {
    self.frames = frames
    var prefix: [UInt8] = Array("{".utf8)
    if !call.isEmpty {
      prefix += Array("\"call\":".utf8)
      JSONText.quote(call, into: &prefix)
      prefix.append(0x2C)
    }
    self.prefix = prefix
  }

  /// Takes written bytes and sends the lines they complete.
  package func write(_ bytes: some Sequence<UInt8>, to stream: Stream) {
    pending.withLock { all in
      all[stream.rawValue].bytes += bytes
      var start = 0
      let data = all[stream.rawValue].bytes
      while let end = data[start...].firstIndex(of: 0x0A) {
        send(data[start..<end], to: stream, &all[stream.rawValue], complete: true)
        start = end + 1
      }
      var rest = data[start...]
      if rest.count >= Self.lineBytes {
        rest = send(rest, to: stream, &all[stream.rawValue], complete: false)
      }
      all[stream.rawValue].bytes = Array(rest)
    }
  }

  /// Sends what was written without an end of line.
  package func flush() {
    pending.withLock { all in
      for stream in Stream.allCases where !all[stream.rawValue].bytes.isEmpty || all[stream.rawValue].part > 0 {
        let rest = all[stream.rawValue].bytes
        all[stream.rawValue].bytes = []
        send(rest[...], to: stream, &all[stream.rawValue], complete: true)
      }
    }
  }

  /// The last line of a stream that was not blank, at most 512 bytes of it.
  package func lastLine(of stream: Stream) -> String {
    pending.withLock { String(decoding: $0[stream.rawValue].lastLine, as: UTF8.self) }
  }

  /// Sends one structured record.
  package func record(_ level: String, _ message: String, _ fields: [String: LogValue] = [:]) {
    var frame = prefix + Array("\"stream\":\"stderr\",\"level\":\"\(level)\",\"msg\":".utf8)
    JSONText.quote(Self.clipped(message, to: Self.messageBytes / 4), into: &frame)
    if !fields.isEmpty {
      let head = frame.count
      frame += Array(",\"fields\":".utf8)
      LogValue.map(fields).write(into: &frame)
      if frame.count > Frames.frameBytes - 2 {
        frame.removeSubrange(head...)
        frame += Array(",\"fields\":{\"apus.truncated\":true}".utf8)
      }
    }
    frames.send(frame + [0x7D, 0x0A])
  }

  @discardableResult
  private func send(
    _ line: ArraySlice<UInt8>, to stream: Stream, _ pending: inout Pending, complete: Bool
  ) -> ArraySlice<UInt8> {
    var rest = complete && line.last == 0x0D ? line.dropLast() : line
    if rest.contains(where: { $0 != 0x20 && $0 != 0x09 }) { pending.lastLine = Array(rest.prefix(Self.lastLineBytes)) }
    while rest.count > Self.lineBytes || (!complete && rest.count == Self.lineBytes) {
      let cut = Self.cut(rest)
      pending.part += 1
      sendFrame(rest[..<cut], stream, part: pending.part)
      rest = rest[cut...]
    }
    guard complete else { return rest }
    sendFrame(rest, stream, part: pending.part == 0 ? 0 : pending.part + 1)
    pending.part = 0
    return []
  }

  /// Where a part of a long line ends: between characters, and so early that its frame stays below 256 KiB.
  private static func cut(_ rest: ArraySlice<UInt8>) -> Int {
    let escaped = rest.prefix(lineBytes).reduce(into: lineBytes) { $0 += $1 < 0x20 ? 5 : ($1 >= 0x80 ? 2 : 0) }
    let limit = escaped > Frames.frameBytes - 8 * 1024 ? denseBytes : lineBytes
    var cut = rest.startIndex + limit
    while cut > rest.startIndex + limit - 4, cut < rest.endIndex, rest[cut] & 0xC0 == 0x80 { cut -= 1 }
    return cut
  }

  private func sendFrame(_ text: ArraySlice<UInt8>, _ stream: Stream, part: Int) {
    var frame = prefix + Array("\"stream\":\"\(stream == .stdout ? "stdout" : "stderr")\",\"line\":".utf8)
    JSONText.quote(String(decoding: text, as: UTF8.self), into: &frame)
    if part > 0 { frame += Array(",\"part\":\(part)".utf8) }
    frames.send(frame + [0x7D, 0x0A])
  }

  private static func clipped(_ text: String, to bytes: Int) -> String {
    text.utf8.count <= bytes ? text : String(decoding: Array(text.utf8.prefix(bytes)), as: UTF8.self)
  }
}
