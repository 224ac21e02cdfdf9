package import ClusterAPI
package import ClusterModel
package import Hummingbird
internal import NIOCore

extension Request {
  /// The whole body; throws 413 when it is longer than `bound` bytes.
  package func bytes(upTo bound: Int) async throws -> ByteBuffer {
    do {
      return try await body.collect(upTo: bound)
    } catch is NIOTooManyBytesError {
      throw APIStatus.tooLarge("the body is longer than the \(bound) bytes allowed here")
    }
  }

  /// The whole body as JSON; throws 400 when it is none, 413 when it is longer than `bound` bytes.
  package func json(upTo bound: Int) async throws -> JSONValue {
    let bytes = try await bytes(upTo: bound)
    guard bytes.readableBytes > 0 else { throw APIStatus.badRequest("the body is empty; send JSON") }
    do {
      return try JSONValue(bytes: bytes.readableBytesView)
    } catch {
      throw APIStatus.badRequest("the body is not JSON: \(JSONFault.words(error))")
    }
  }
}

/// What is wrong with a JSON text, in words.
package enum JSONFault {
  /// The decoder's own words, without its wrapping.
  package static func words(_ error: any Error) -> String {
    guard let error = error as? DecodingError else { return "\(error)" }
    switch error {
    case .dataCorrupted(let context), .typeMismatch(_, let context), .valueNotFound(_, let context),
      .keyNotFound(_, let context):
      let path = context.codingPath.map(\.stringValue).joined(separator: ".")
      let inner = context.underlyingError.map { " (\($0))" } ?? ""
      return (path.isEmpty ? "" : "\(path): ") + context.debugDescription + inner
    @unknown default: return "\(error)"
    }
  }
}

extension Response {
  /// A JSON answer.
  package static func json(_ value: JSONValue, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]) -> Response
  {
    var headers = headers
    if headers[.contentType] == nil { headers[.contentType] = "application/json" }
    return Response(
      status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: value.encoded())))
  }

  /// A plain text answer.
  package static func text(_ text: String, status: HTTPResponse.Status = .ok) -> Response {
    Response(
      status: status, headers: [.contentType: "text/plain; charset=utf-8"],
      body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
  }

  /// An error as a `Status` object.
  package static func failure(_ status: APIStatus) -> Response {
    var headers: HTTPFields = [:]
    if let seconds = status.details?.retryAfterSeconds { headers[.retryAfter] = String(seconds) }
    if status.code == 401 { headers[.wwwAuthenticate] = "Bearer" }
    let value = (try? JSONValue(encoding: status)) ?? .null
    return .json(value, status: HTTPResponse.Status(code: status.code), headers: headers)
  }
}
