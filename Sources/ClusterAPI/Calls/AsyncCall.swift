package import ClusterModel
package import FoundationEssentials

/// A header field of a call or its answer.
package struct CallHeader: Codable, Hashable, Sendable {
  /// The name as it was sent.
  package var name: String
  /// The value.
  package var value: String

  /// A field.
  package init(_ name: String, _ value: String) {
    self.name = name
    self.value = value
  }
}

/// A call that is run later: everything the function is to see.
package struct AsyncCall: Hashable, Sendable {
  /// What stands before the body.
  package var head: Head
  /// The body, at most `Limits.asyncBody` bytes.
  package var body: [UInt8]

  /// A call without its body.
  package struct Head: Codable, Hashable, Sendable {
    /// The call id, `^[A-Za-z0-9._:-]{1,64}$`; unique in the cluster while it is kept.
    package var id: String
    /// The function's namespace.
    package var namespace: String
    /// The function's name.
    package var function: String
    /// The method; POST unless a schedule says otherwise.
    package var method: String
    /// Path and query as the function sees them; empty stands for `/`.
    package var path: String
    /// The fields that may pass, without framing and without the call id.
    package var headers: [CallHeader]
    /// Where the result is posted; nil for nowhere.
    package var callback: String?
    /// When the gateway took it.
    package var enqueued: Timestamp
    /// The fingerprint of the credential it was sent with, `sha256:HEX` of the bearer token; nil without one.
    package var owner: String?

    /// A head of all parts.
    package init(
      id: String, namespace: String, function: String, method: String = "POST", path: String,
      headers: [CallHeader] = [], callback: String? = nil, enqueued: Timestamp, owner: String? = nil
    ) {
      self.id = id
      self.namespace = namespace
      self.function = function
      self.method = method
      self.path = path
      self.headers = headers
      self.callback = callback
      self.enqueued = enqueued
      self.owner = owner
    }
  }

  /// A call of head and body.
  package init(_ head: Head, body: [UInt8] = []) {
    self.head = head
    self.body = body
  }

  /// The call as bytes: the head as one line of JSON, then the body.
  package func encoded() -> [UInt8] {
    // Texts and a time always encode.
    let head = (try? JSONCoding.encoder.encode(head)) ?? Data()
    var bytes: [UInt8] = []
    bytes.reserveCapacity(head.count + 1 + body.count)
    bytes.append(contentsOf: head)
    bytes.append(10)
    bytes.append(contentsOf: body)
    return bytes
  }

  /// Reads what `encoded` wrote; throws when it is something else.
  package init(encoded bytes: [UInt8]) throws {
    let end = bytes.firstIndex(of: 10) ?? bytes.endIndex
    head = try JSONDecoder().decode(Head.self, from: Data(bytes[..<end]))
    body = end == bytes.endIndex ? [] : Array(bytes[(end + 1)...])
  }
}

/// Where an asynchronous call is in its life.
package enum CallState: String, Codable, Hashable, Sendable, CaseIterable {
  /// It waits for its turn.
  case queued
  /// It is being run.
  case running
  /// An attempt failed; the next one has its time.
  case retrying
  /// The function answered.
  case done
  /// It was given up, and is kept until somebody runs it again or purges it.
  case dead
}

/// One line of the list of calls.
package struct CallSummary: Codable, Hashable, Sendable {
  /// The call id.
  package var id: String
  /// The function's namespace.
  package var namespace: String
  /// The function's name.
  package var function: String
  /// Where it is in its life.
  package var state: CallState
  /// Attempts that ended.
  package var attempts: Int
  /// When it was taken.
  package var enqueued: Timestamp
  /// When it is tried next, while it is `retrying`.
  package var next: Timestamp?
  /// When it was done or given up.
  package var ended: Timestamp?
  /// The status of the last answer; nil when there was none.
  package var status: Int?
  /// Why the last attempt failed.
  package var reason: String?

  /// A line of all parts.
  package init(
    id: String, namespace: String, function: String, state: CallState, attempts: Int, enqueued: Timestamp,
    next: Timestamp? = nil, ended: Timestamp? = nil, status: Int? = nil, reason: String? = nil
  ) {
    self.id = id
    self.namespace = namespace
    self.function = function
    self.state = state
    self.attempts = attempts
    self.enqueued = enqueued
    self.next = next
    self.ended = ended
    self.status = status
    self.reason = reason
  }
}

/// All that is kept of one call.
package struct CallDetail: Codable, Hashable, Sendable {
  /// Its line in the list.
  package var call: CallSummary
  /// The method.
  package var method: String
  /// Path and query as the function sees them.
  package var path: String
  /// Bytes of the request's body.
  package var bodyBytes: Int
  /// Where the result is posted.
  package var callback: String?
  /// What became of the callback: `waiting`, `sent`, or why it was given up.
  package var callbackOutcome: String?
  /// The last answer; nil while there is none.
  package var result: Result?
  /// The fingerprint of the credential it was sent with; nil without one.
  package var owner: String?

  /// A function's answer.
  package struct Result: Codable, Hashable, Sendable {
    /// The status.
    package var status: Int
    /// The header fields.
    package var headers: [CallHeader]
    /// The body, at most `Limits.asyncResultBody` bytes; base64 in JSON.
    package var body: Data
    /// Whether the body was longer than what is kept.
    package var truncated: Bool
    /// Seconds the last attempt took.
    package var seconds: Double

    /// A result of all parts.
    package init(status: Int, headers: [CallHeader], body: Data, truncated: Bool, seconds: Double) {
      self.status = status
      self.headers = headers
      self.body = body
      self.truncated = truncated
      self.seconds = seconds
    }
  }

  /// A detail of all parts.
  package init(
    call: CallSummary, method: String, path: String, bodyBytes: Int, callback: String?, callbackOutcome: String?,
    result: Result?, owner: String? = nil
  ) {
    self.call = call
    self.method = method
    self.path = path
    self.bodyBytes = bodyBytes
    self.callback = callback
    self.callbackOutcome = callbackOutcome
    self.result = result
    self.owner = owner
  }
}
