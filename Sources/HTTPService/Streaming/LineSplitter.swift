internal import NIOCore

/// Cuts chunks of bytes into lines; empty lines are dropped.
struct LineSplitter {
  private var buffer = ByteBuffer()
  private var searched = 0
  private let bound: Int

  /// A splitter for lines of at most `bound` bytes.
  init(bound: Int) { self.bound = bound }

  /// Adds a chunk.
  mutating func append(_ chunk: ByteBuffer) {
    if buffer.readableBytes == 0 {
      buffer = chunk
    } else {
      buffer.discardReadBytes()
      var chunk = chunk
      buffer.writeBuffer(&chunk)
    }
  }

  /// The next complete line without its newline, or nil until more was added.
  mutating func next() throws(LineTooLong) -> [UInt8]? {
    while true {
      let view = buffer.readableBytesView
      guard let newline = view.dropFirst(searched).firstIndex(of: 10) else {
        searched = view.count
        if searched > bound { throw LineTooLong(bound: bound) }
        return nil
      }
      let length = newline - view.startIndex
      searched = 0
      if length > bound { throw LineTooLong(bound: bound) }
      let line = buffer.readBytes(length: length) ?? []
      buffer.moveReaderIndex(forwardBy: 1)
      if !line.isEmpty { return line }
    }
  }

  /// What follows the last newline, once the stream ended.
  mutating func rest() -> [UInt8]? {
    let rest = buffer.readBytes(length: buffer.readableBytes) ?? []
    return rest.isEmpty ? nil : rest
  }
}

/// A line was longer than its bound.
struct LineTooLong: Error {
  /// The bound in bytes.
  let bound: Int
}
