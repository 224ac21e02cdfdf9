internal import ClusterAPI
internal import HTTPTypes
internal import Hummingbird
internal import Logging
internal import NIOCore
internal import NIOSSL
internal import SwiftASN1
internal import X509

/// Turns every error into a `Status` object; what is not ours becomes a 500 that tells nothing but the request's id.
struct ErrorMiddleware: RouterMiddleware {
  typealias Context = AdminContext

  let dialect: ErrorDialect

  @concurrent func handle(
    _ request: Request, context: AdminContext, next: @concurrent (Request, AdminContext) async throws -> Response
  ) async throws -> Response {
    do {
      return try await next(request, context)
    } catch let status as APIStatus {
      return failed(request, status)
    } catch let error as HTTPError {
      return failed(request, Self.status(error, request))
    } catch let error as CancellationError {
      throw error
    } catch {
      context.logger.error("request failed", metadata: ["error": "\(error)", "http.path": "\(request.uri.path)"])
      return failed(request, .internalError("the server failed; its log says why (request \(context.id))"))
    }
  }

  private func failed(_ request: Request, _ status: APIStatus) -> Response {
    dialect(request, status) ?? .failure(status)
  }

  private static func status(_ error: HTTPError, _ request: Request) -> APIStatus {
    switch error.status.code {
    case 404: return .noSuchPath(request.uri.path)
    case 405: return .methodNotAllowed("\(request.method.rawValue) is not for \(request.uri.path)")
    case 413: return .tooLarge(error.body ?? "the body is too long")
    default:
      let reason = error.status.reasonPhrase.filter { $0 != " " }
      return APIStatus(code: error.status.code, reason: reason, message: error.body ?? error.status.reasonPhrase)
    }
  }
}

/// One line a request at level debug, and the request's id in the answer.
struct AccessLogMiddleware: RouterMiddleware {
  typealias Context = AdminContext

  @concurrent func handle(
    _ request: Request, context: AdminContext, next: @concurrent (Request, AdminContext) async throws -> Response
  ) async throws -> Response {
    let start = ContinuousClock.now
    var response = try await next(request, context)
    if let name = HTTPField.Name("X-Request-Id") { response.headers[name] = context.id }
    context.logger.debug(
      "request answered",
      metadata: [
        "http.method": "\(request.method.rawValue)", "http.path": "\(request.uri.path)",
        "http.status": "\(response.status.code)", "duration": "\(ContinuousClock.now - start)",
      ])
    return response
  }
}

/// Finds out who sent a request: by bearer token, else by the certificate the TLS handshake verified.
///
/// A wrong token is 401 even where none is needed; without any credential only the open paths answer.
struct AuthenticationMiddleware: RouterMiddleware {
  typealias Context = AdminContext

  let authenticator: any Authenticator
  let openPaths: Set<String>

  @concurrent func handle(
    _ request: Request, context: AdminContext, next: @concurrent (Request, AdminContext) async throws -> Response
  ) async throws -> Response {
    if openPaths.contains(request.uri.path) { return try await next(request, context) }
    var context = context
    context.principal = try await principal(request, context)
    if context.principal == .anonymous {
      throw APIStatus.unauthorized("no credential was sent; use the kubeconfig's token or a client certificate")
    }
    return try await next(request, context)
  }

  private func principal(_ request: Request, _ context: AdminContext) async throws -> Principal {
    if let header = request.headers[.authorization] {
      guard let token = BearerToken.read(header) else {
        throw APIStatus.unauthorized("the Authorization header is not of the form: Bearer TOKEN")
      }
      return try await authenticator.principal(bearer: token)
    }
    // Without TLS there is no certificate, and asking for one fails.
    guard let found = try? await context.channel.nioSSL_peerCertificate().get() else { return .anonymous }
    guard let principal = Principal(certificate: found) else {
      throw APIStatus.unauthorized("the client certificate names nobody known here")
    }
    return principal
  }
}
