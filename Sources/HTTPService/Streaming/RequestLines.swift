internal import ClusterAPI
package import Hummingbird
internal import NIOCore

/// The lines of a request's body as they arrive (NDJSON); reading slowly slows the sender down.
package struct RequestLines {
  /// Bytes of one line at most.
  package static let lineBytesMax = 1 << 20

  private var iterator: RequestBody.AsyncIterator
  private var splitter: LineSplitter
  private var ended = false

  /// The lines of a body, each of at most `bound` bytes.
  package init(_ body: RequestBody, bound: Int = RequestLines.lineBytesMax) {
    iterator = body.makeAsyncIterator()
    splitter = LineSplitter(bound: bound)
  }

  /// The next line, nil at the end; throws 413 for a line that is too long, and when the connection breaks.
  package mutating func next(isolation: isolated (any Actor)? = #isolation) async throws -> [UInt8]? {
    while !ended {
      do throws(LineTooLong) {
        if let line = try splitter.next() { return line }
      } catch {
        throw APIStatus.tooLarge("a line of the body is longer than \(error.bound) bytes")
      }
      if let chunk = try await iterator.next(isolation: isolation) {
        splitter.append(chunk)
      } else {
        ended = true
        return splitter.rest()
      }
    }
    return nil
  }
}

extension Request {
  /// The body as chunks, read as they are asked for; the stream has one reader.
  package func chunks() -> AsyncThrowingStream<[UInt8], any Error> {
    let reader = BodyChunks(body)
    return AsyncThrowingStream { try await reader.next() }
  }
}

// SAFETY: has one reader, the stream that owns it, which asks for one element at a time.
private final class BodyChunks: @unchecked Sendable {
  private var iterator: RequestBody.AsyncIterator

  init(_ body: RequestBody) { iterator = body.makeAsyncIterator() }

  func next() async throws -> [UInt8]? {
    try await iterator.next(isolation: #isolation).map { Array($0.readableBytesView) }
  }
}
