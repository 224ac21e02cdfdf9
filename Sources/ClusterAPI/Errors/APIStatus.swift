package import ClusterModel

/// The resource API's error: a Kubernetes `Status` object.
package struct APIStatus: Error, Codable, Hashable, Sendable, CustomStringConvertible {
  /// `Status`.
  package var kind = "Status"
  /// `v1`.
  package var apiVersion = "v1"
  /// Always empty.
  package var metadata: [String: String] = [:]
  /// `Failure`, or `Success`.
  package var status = "Failure"
  /// A sentence for people.
  package var message: String
  /// A word for programs: NotFound, Conflict, Invalid …
  package var reason: String
  /// What it is about.
  package var details: Details?
  /// The HTTP status.
  package var code: Int

  /// What a failure is about.
  package struct Details: Codable, Hashable, Sendable {
    /// The object's name.
    package var name: String?
    /// The group of its kind.
    package var group: String?
    /// The plural of its kind.
    package var kind: String?
    /// Its uid.
    package var uid: String?
    /// Each fault.
    package var causes: [Cause]?
    /// When to try again, seconds.
    package var retryAfterSeconds: Int?
  }

  /// One fault of an invalid object.
  package struct Cause: Codable, Hashable, Sendable {
    /// FieldValueInvalid, FieldValueRequired …
    package var reason: String?
    /// What is wrong.
    package var message: String
    /// The dotted path.
    package var field: String?
  }

  /// A failure of a code and reason.
  package init(code: Int, reason: String, message: String, details: Details? = nil) {
    self.code = code
    self.reason = reason
    self.message = message
    self.details = details
  }

  /// The message.
  package var description: String { message }
}

extension APIStatus {
  private static func about(_ kind: ResourceKind, _ name: String) -> Details {
    Details(name: name, group: kind.group.isEmpty ? nil : kind.group, kind: kind.plural)
  }

  /// 404: no such object.
  package static func notFound(_ kind: ResourceKind, _ name: String) -> APIStatus {
    APIStatus(
      code: 404, reason: "NotFound", message: "\(kind.qualifiedPlural) \"\(name)\" not found",
      details: about(kind, name))
  }

  /// 404: no such path.
  package static func noSuchPath(_ path: String) -> APIStatus {
    APIStatus(code: 404, reason: "NotFound", message: "the server has nothing at \(path)")
  }

  /// 409: an object of this name exists.
  package static func alreadyExists(_ kind: ResourceKind, _ name: String) -> APIStatus {
    APIStatus(
      code: 409, reason: "AlreadyExists", message: "\(kind.qualifiedPlural) \"\(name)\" already exists",
      details: about(kind, name))
  }

  /// 409: the object changed since it was read.
  package static func conflict(_ kind: ResourceKind, _ name: String, _ why: String) -> APIStatus {
    APIStatus(
      code: 409, reason: "Conflict",
      message: "Operation cannot be fulfilled on \(kind.qualifiedPlural) \"\(name)\": \(why)",
      details: about(kind, name))
  }

  /// 422: the object is invalid; every fault is a cause.
  package static func invalid(_ kind: ResourceKind, _ name: String, _ faults: Faults) -> APIStatus {
    var details = about(kind, name)
    details.causes = faults.all.map {
      Cause(reason: $0.unknown ? "FieldValueNotSupported" : "FieldValueInvalid", message: $0.message, field: $0.path)
    }
    return APIStatus(
      code: 422, reason: "Invalid", message: "\(kind.rawValue) \"\(name)\" is invalid: \(faults)", details: details)
  }

  /// 400: the request cannot be understood.
  package static func badRequest(_ message: String) -> APIStatus {
    APIStatus(code: 400, reason: "BadRequest", message: message)
  }

  /// 401: no valid credential.
  package static func unauthorized(_ message: String) -> APIStatus {
    APIStatus(code: 401, reason: "Unauthorized", message: message)
  }

  /// 403: the credential may not do this.
  package static func forbidden(_ message: String) -> APIStatus {
    APIStatus(code: 403, reason: "Forbidden", message: message)
  }

  /// 405: not for this resource.
  package static func methodNotAllowed(_ message: String) -> APIStatus {
    APIStatus(code: 405, reason: "MethodNotAllowed", message: message)
  }

  /// 410: the revision was compacted, or is from an earlier boot.
  package static func expired(_ message: String) -> APIStatus {
    APIStatus(code: 410, reason: "Expired", message: message)
  }

  /// 413: too much.
  package static func tooLarge(_ message: String) -> APIStatus {
    APIStatus(code: 413, reason: "RequestEntityTooLarge", message: message)
  }

  /// 415: a body of a type this path does not take.
  package static func unsupportedMedia(_ message: String) -> APIStatus {
    APIStatus(code: 415, reason: "UnsupportedMediaType", message: message)
  }

  /// 429: come back later.
  package static func tooManyRequests(_ message: String, retryAfterSeconds: Int) -> APIStatus {
    var status = APIStatus(code: 429, reason: "TooManyRequests", message: message)
    status.details = Details(retryAfterSeconds: retryAfterSeconds)
    return status
  }

  /// 500: a fault of ours.
  package static func internalError(_ message: String) -> APIStatus {
    APIStatus(code: 500, reason: "InternalError", message: message)
  }

  /// 503: not now.
  package static func unavailable(_ message: String) -> APIStatus {
    APIStatus(code: 503, reason: "ServiceUnavailable", message: message)
  }

  /// 507: the disk is full.
  package static func storageFull(_ message: String) -> APIStatus {
    APIStatus(code: 507, reason: "InsufficientStorage", message: message)
  }
}
