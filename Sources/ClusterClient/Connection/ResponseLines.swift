internal import AsyncHTTPClient
internal import ClusterAPI
internal import NIOCore

/// The lines of a response's body, read as they are asked for: a slow reader slows the server down.
///
/// Dropping it ends the request.
// SAFETY: has one reader, the stream that owns it, which asks for one element at a time.
final class ResponseLines: @unchecked Sendable {
  private var iterator: HTTPClientResponse.Body.AsyncIterator
  private var splitter: LineSplitter
  private let server: String
  private var ended = false

  /// The lines of a body, each of at most `bound` bytes.
  init(_ body: HTTPClientResponse.Body, bound: Int, server: String) {
    iterator = body.makeAsyncIterator()
    splitter = LineSplitter(bound: bound)
    self.server = server
  }

  /// The next line, nil at the end; throws `APIStatus` when the connection broke.
  func next() async throws -> [UInt8]? {
    while !ended {
      do {
        if let line = try splitter.next() { return line }
        if let chunk = try await iterator.next() {
          splitter.append(chunk)
        } else {
          ended = true
          return splitter.rest()
        }
      } catch {
        ended = true
        throw TransportFailure(error, server: server).status
      }
    }
    return nil
  }
}

/// The chunks of a response's body, read as they are asked for.
// SAFETY: has one reader, the stream that owns it, which asks for one element at a time.
final class ResponseChunks: @unchecked Sendable {
  private var iterator: HTTPClientResponse.Body.AsyncIterator
  private let server: String

  /// The chunks of a body.
  init(_ body: HTTPClientResponse.Body, server: String) {
    iterator = body.makeAsyncIterator()
    self.server = server
  }

  /// The next chunk, nil at the end; throws `APIStatus` when the connection broke.
  func next() async throws -> [UInt8]? {
    do {
      return try await iterator.next().map { Array($0.readableBytesView) }
    } catch {
      throw TransportFailure(error, server: server).status
    }
  }
}
