internal import ClusterAPI
internal import HTTPService
internal import HTTPTypes
internal import Hummingbird
internal import NIOCore

/// Reads the bodies of pushes.
enum PushBody {
  /// Bytes of a body at most, as it is sent.
  static let bytesMaximum = 32 << 20
  /// Bytes of a body at most, once inflated.
  static let inflatedMaximum = 64 << 20

  /// The whole body, inflated: valid UTF-8. Throws 413 beyond the bounds, 415 for another encoding than gzip, 400 for
  /// damaged gzip and what is no UTF-8.
  static func bytes(_ request: Request) async throws -> [UInt8] {
    let encoding = request.headers[.contentEncoding]?.lowercased() ?? "identity"
    guard ["identity", "", "gzip", "x-gzip"].contains(encoding) else {
      throw APIStatus.unsupportedMedia("Content-Encoding: \(encoding) is not taken; send gzip, or none")
    }
    let body = try await request.bytes(upTo: bytesMaximum)
    var bytes = Array(body.readableBytesView)
    if encoding.hasSuffix("gzip") {
      do throws(Gunzip.Fault) { bytes = try Gunzip.bytes(bytes, upTo: inflatedMaximum) } catch {
        switch error {
        case .damaged: throw APIStatus.badRequest("the body is said to be gzip and does not inflate")
        case .tooLong: throw APIStatus.tooLarge("the body is longer than \(inflatedMaximum) bytes once inflated")
        }
      }
    }
    guard String(validating: bytes, as: UTF8.self) != nil else {
      throw APIStatus.badRequest("the body is not UTF-8")
    }
    return bytes
  }

  /// The media type of a request's body, lower case, without parameters; empty when it says none.
  static func mediaType(_ request: Request) -> String {
    let header = request.headers[.contentType] ?? ""
    return (header.split(separator: ";").first.map(String.init) ?? "").lowercased()
      .replacing(" ", with: "")
  }
}
