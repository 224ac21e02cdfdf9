import ClusterAPI
import ClusterModel

/// Who may call a function. Only functions that are not open to everybody come here.
extension ClientConnection {
  /// Lets a request pass that shows a token which covers the function; else says what to show, or what to change.
  func admit(_ lines: HeadLines, _ bytes: UnsafeRawBufferPointer, to route: FunctionRoute) throws(Refusal) {
    let name = route.namespace == "default" ? route.function : "\(route.function) -n \(route.namespace)"
    guard let token = try token(lines, bytes, reads: route.needsToken == true) else {
      guard route.needsToken == true else {
        throw Refusal(
          .forbidden,
          "function \"\(route.function)\" answers callers on the gateway's own machine only; to have it answer others, "
            + "set `auth: token` or `public: true` in its spec")
      }
      challenge = "Bearer realm=\"apus\""
      throw Refusal(
        .unauthorized,
        "function \"\(route.function)\" needs a token: send Authorization: Bearer TOKEN; "
          + "`apus token create --function \(name)` makes one")
    }
    guard let keys = services.table.keys else {
      throw Refusal(.noControlPlane, "this gateway has not heard from the control plane which tokens are good")
    }
    switch keys.verdict(token, for: route, at: .now()) {
    case .granted: break
    case .unknown:
      challenge = "Bearer realm=\"apus\", error=\"invalid_token\""
      throw Refusal(
        .unauthorized,
        "the token is not known here: it was revoked, or its time is over; `apus token list` shows those there are")
    case .expired(let time):
      challenge = "Bearer realm=\"apus\", error=\"invalid_token\""
      throw Refusal(
        .unauthorized,
        "the token expired at \(time.wholeSeconds); `apus token create --function \(name)` makes a new one")
    case .elsewhere(let scope):
      challenge = "Bearer realm=\"apus\", error=\"insufficient_scope\""
      throw Refusal(
        .forbidden,
        "the token is for \(scope), not for \(route.key); `apus token create --function \(name)` makes one")
    }
  }

  /// The token of a request: in the platform's own field, else (`reads`) in `Authorization`. The latter belongs to the
  /// function unless it asks for tokens. A client of AWS Lambda signs there; its token is the session token of its
  /// credentials.
  private func token(
    _ lines: HeadLines, _ bytes: UnsafeRawBufferPointer, reads: Bool
  ) throws(Refusal) -> UnsafeRawBufferPointer? {
    var found: Span?
    var own: Span?
    var session: Span?
    for field in lines.fields {
      if field.kind == .platform, ByteScan.equals(field.name.of(bytes), "x-apus-authorization") {
        guard own == nil else { throw Refusal(.badRequest, "X-Apus-Authorization stands twice") }
        own = field.value
      } else if reads, field.kind == .authorization {
        guard found == nil else { throw Refusal(.badRequest, "Authorization stands twice") }
        // What a client of Lambda signs with says nothing here.
        if !invokes || ByteScan.starts(field.value.of(bytes), "bearer ") { found = field.value }
      } else if reads, invokes, field.kind == .sessionToken {
        guard session == nil else { throw Refusal(.badRequest, "X-Amz-Security-Token stands twice") }
        session = field.value
      }
    }
    guard let value = (own ?? found ?? session)?.of(bytes) else { return nil }
    // Another scheme is a token that is not known.
    return Credential.bearer(value) ?? value
  }
}
