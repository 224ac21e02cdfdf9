package import ClusterModel

/// Takes calls that are run later.
package protocol CallQueue: Sendable {
  /// Puts a call into its function's queue; returns once it is durable: from then on it is run at least once, whatever
  /// dies. Throws 404 without such a function, 409 when the id is known, 413, 429 when the queue is full, 507.
  func enqueue(_ call: AsyncCall) async throws(APIStatus)
  /// What became of a call, for the holder of the credential it was sent with (its fingerprint, `AsyncCall.Head.owner`).
  /// Throws 404 for every other call, known or not.
  func result(_ id: String, owner: String) async throws(APIStatus) -> CallDetail
}

/// Shows and changes the calls that are kept.
package protocol CallCatalog: Sendable {
  /// Calls of a namespace, oldest first, at most `Limits.callsListed`.
  func list(_ filter: CallFilter) async throws(APIStatus) -> [CallSummary]
  /// One call with its result; throws 404 when it is not kept.
  func show(namespace: String, id: String) async throws(APIStatus) -> CallDetail
  /// Queues a dead letter, or a call that is done, once more, with all its attempts; 409 while it waits or runs.
  func retry(namespace: String, id: String) async throws(APIStatus) -> CallSummary
  /// Removes the dead letters of a function and answers how many.
  func purge(namespace: String, function: String) async throws(APIStatus) -> Int
}

/// Which calls to list.
package struct CallFilter: Hashable, Sendable {
  /// The namespace.
  package var namespace: String
  /// The function; nil for all.
  package var function: String?
  /// The state; nil for all.
  package var state: CallState?
  /// Calls at most.
  package var limit: Int

  /// A filter.
  package init(namespace: String, function: String? = nil, state: CallState? = nil, limit: Int = 100) {
    self.namespace = namespace
    self.function = function
    self.state = state
    self.limit = limit
  }
}

/// Runs calls through a gateway, and posts results to callbacks.
package protocol CallInvoker: Sendable {
  /// Calls the function as any caller would and waits for the whole answer, at most so many milliseconds.
  func invoke(_ call: AsyncCall, patience: Int64) async -> CallOutcome
  /// Posts a result once, within `Limits.callbackPatience`; follows no redirect, and sends nothing to an address that
  /// the rules refuse. Nil when it was taken (2xx), else why it was not.
  func deliver(_ callback: CallbackPost, rules: CallbackRules) async -> String?
}

/// What came of one attempt.
package enum CallOutcome: Hashable, Sendable {
  /// There was an answer.
  case answered(CallAnswer)
  /// The connection broke, or the time was over, after the call may have begun.
  case broken(String)
  /// No gateway could be reached: nothing was sent.
  case unreached(String)
}

/// The answer of a function, or of the platform in its stead.
package struct CallAnswer: Hashable, Sendable {
  /// The status.
  package var status: Int
  /// The function's header fields.
  package var headers: [CallHeader]
  /// The body, cut to `Limits.asyncResultBody` bytes.
  package var body: [UInt8]
  /// Whether it was cut.
  package var truncated: Bool
  /// Seconds it took.
  package var seconds: Double
  /// The platform's own error code (`X-Apus-Error`); nil when the function answered.
  package var platformCode: String?

  /// An answer of all parts.
  package init(
    status: Int, headers: [CallHeader] = [], body: [UInt8] = [], truncated: Bool = false, seconds: Double = 0,
    platformCode: String? = nil
  ) {
    self.status = status
    self.headers = headers
    self.body = body
    self.truncated = truncated
    self.seconds = seconds
    self.platformCode = platformCode
  }

  /// The value of a header field, whatever the case of its name.
  package func header(_ name: String) -> String? {
    headers.first { $0.name.lowercased() == name }?.value
  }
}

/// One message to a callback.
package struct CallbackPost: Hashable, Sendable {
  /// Where to.
  package var url: String
  /// All header fields but those of framing.
  package var headers: [CallHeader]
  /// The body.
  package var body: [UInt8]

  /// A message.
  package init(url: String, headers: [CallHeader], body: [UInt8]) {
    self.url = url
    self.headers = headers
    self.body = body
  }
}
