package import Hummingbird
internal import NIOCore
internal import ServiceLifecycle

/// Answers that go on for as long as their source does.
package enum StreamResponse {
  /// A live stream: each element is written and flushed as one chunk. It ends with its source, when the client goes
  /// away, and when the server shuts down.
  ///
  /// `encode` answers the bytes of an element, its newline included; nil writes nothing. When the source throws,
  /// `failure` may answer last bytes. `ended` is called at the end, however it came.
  package static func live<Source: AsyncSequence & Sendable>(
    _ source: Source, to request: Request, contentType: String, headers: HTTPFields = [:],
    encode: @escaping @Sendable (Source.Element) throws -> [UInt8]?,
    failure: @escaping @Sendable (any Error) -> [UInt8]? = { _ in nil },
    ended: @escaping @Sendable () async -> Void = {}
  ) -> Response where Source.Element: Sendable, Source.AsyncIterator: SendableMetatype {
    var headers = headers
    headers[.contentType] = contentType
    // The server closes the connection after a live stream; the client should not send another request on it.
    headers[.connection] = "close"
    let body = ResponseBody { writer in
      do {
        try await request.body.consumeWithCancellationOnInboundClose { _ in
          do {
            for try await element in source.cancelOnGracefulShutdown() {
              if let bytes = try encode(element) { try await writer.write(ByteBuffer(bytes: bytes)) }
            }
          } catch {
            guard !(error is CancellationError), let bytes = failure(error) else { throw error }
            try await writer.write(ByteBuffer(bytes: bytes))
          }
          // Inside: leaving this block closes the connection, and the end must be written before that.
          try await writer.finish(nil)
        }
      } catch {
        await ended()
        throw error
      }
      await ended()
    }
    return Response(status: .ok, headers: headers, body: body)
  }

  /// A stream with an end: the connection stays usable after it. An error of the source breaks the connection.
  package static func finite<Source: AsyncSequence & Sendable>(
    _ source: Source, contentType: String, headers: HTTPFields = [:],
    encode: @escaping @Sendable (Source.Element) throws -> [UInt8]
  ) -> Response where Source.AsyncIterator: SendableMetatype {
    var headers = headers
    headers[.contentType] = contentType
    let body = ResponseBody { writer in
      for try await element in source { try await writer.write(ByteBuffer(bytes: try encode(element))) }
      try await writer.finish(nil)
    }
    return Response(status: .ok, headers: headers, body: body)
  }
}
