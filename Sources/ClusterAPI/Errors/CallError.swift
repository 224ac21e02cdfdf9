/// The closed list of error codes a caller of a function can get from the platform itself.
package enum CallErrorCode: String, Codable, Hashable, Sendable, CaseIterable {
  case badRequest = "bad_request"
  case unauthorized = "unauthorized"
  case forbidden = "forbidden"
  case functionNotFound = "function_not_found"
  case callNotFound = "call_not_found"
  case methodNotAllowed = "method_not_allowed"
  case requestTimeout = "request_timeout"
  case callKnown = "call_known"
  case bodyTooLarge = "body_too_large"
  case headTooLarge = "head_too_large"
  case uriTooLong = "uri_too_long"
  case queueFull = "queue_full"
  case functionFailed = "function_failed"
  case podCrashed = "pod_crashed"
  case startFailed = "start_failed"
  case badResponse = "bad_response"
  case queueTimeout = "queue_timeout"
  case noCapacity = "no_capacity"
  case draining = "draining"
  case noControlPlane = "no_control_plane"
  case functionTimeout = "function_timeout"
  case responseStartTimeout = "response_start_timeout"
  case idleTimeout = "idle_timeout"
  case storageFull = "storage_full"
  case callLoop = "call_loop"

  /// The HTTP status that goes with the code.
  package var status: Int {
    switch self {
    case .badRequest: 400
    case .unauthorized: 401
    case .forbidden: 403
    case .functionNotFound, .callNotFound: 404
    case .methodNotAllowed: 405
    case .requestTimeout: 408
    case .callKnown: 409
    case .bodyTooLarge: 413
    case .uriTooLong: 414
    case .headTooLarge: 431
    case .queueFull: 429
    case .functionFailed: 500
    case .podCrashed, .startFailed, .badResponse: 502
    case .queueTimeout, .noCapacity, .draining, .noControlPlane: 503
    case .functionTimeout, .responseStartTimeout, .idleTimeout: 504
    case .storageFull: 507
    case .callLoop: 508
    }
  }

  /// Who should act.
  package var actor: Actor {
    switch self {
    case .badRequest, .unauthorized, .forbidden, .functionNotFound, .callNotFound, .methodNotAllowed, .requestTimeout,
      .callKnown, .bodyTooLarge, .headTooLarge, .uriTooLong:
      .caller
    case .functionFailed, .podCrashed, .startFailed, .badResponse, .functionTimeout, .responseStartTimeout,
      .idleTimeout, .callLoop:
      .functionAuthor
    case .queueFull, .queueTimeout, .noCapacity, .draining, .noControlPlane, .storageFull: .platformOperator
    }
  }

  /// Who should act on an error.
  package enum Actor: String, Sendable {
    case caller, functionAuthor, platformOperator
  }
}

/// The body of a platform error on the gateway.
package struct CallError: Codable, Hashable, Sendable {
  /// The code, from the closed list; an unknown one from a newer peer stays text.
  package var code: String
  /// A sentence for people.
  package var message: String
  /// The layer that answered: gateway, pod NAME …
  package var component: String
  /// The call id.
  package var call: String

  /// An error of a code.
  package init(code: CallErrorCode, message: String, component: String = "gateway", call: String) {
    self.code = code.rawValue
    self.message = message
    self.component = component
    self.call = call
  }
}
