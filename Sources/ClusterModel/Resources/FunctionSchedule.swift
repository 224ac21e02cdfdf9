/// What happens to a run that is due while the one before it is not over.
package enum ConcurrencyPolicy: String, Codable, Hashable, Sendable, CaseIterable {
  /// It is queued like any call.
  case allow = "Allow"
  /// It is left out, and counted as skipped.
  case forbid = "Forbid"
}

/// Calls of a function at times.
package struct ScheduleSpec: Codable, Hashable, Sendable {
  /// The name, unique in the function.
  package var name: String
  /// When: what `CronExpression` reads.
  package var cron: String
  /// The IANA zone in which `cron` is meant.
  package var timeZone: String
  /// What happens when the run before is not over.
  package var concurrencyPolicy: ConcurrencyPolicy
  /// How late a run may begin; later, it is missed. Nil sets no bound.
  package var startingDeadline: TimeSpan?
  /// Whether nothing is run for now; times that pass meanwhile are not missed.
  package var suspend: Bool
  /// What is sent.
  package var call: ScheduledCall

  /// A schedule of all parts.
  package init(
    name: String, cron: String, timeZone: String = "UTC", concurrencyPolicy: ConcurrencyPolicy = .allow,
    startingDeadline: TimeSpan? = nil, suspend: Bool = false, call: ScheduledCall = ScheduledCall()
  ) {
    self.name = name
    self.cron = cron
    self.timeZone = timeZone
    self.concurrencyPolicy = concurrencyPolicy
    self.startingDeadline = startingDeadline
    self.suspend = suspend
    self.call = call
  }
}

/// The request of a scheduled call.
package struct ScheduledCall: Codable, Hashable, Sendable {
  /// The method.
  package var method: String
  /// Path and query as the function sees them.
  package var path: String
  /// `Content-Type`; none is sent when nil.
  package var contentType: String?
  /// The body as text; empty when nil.
  package var body: String?

  /// A request of all parts.
  package init(method: String = "POST", path: String = "/", contentType: String? = nil, body: String? = nil) {
    self.method = method
    self.path = path
    self.contentType = contentType
    self.body = body
  }
}

/// What a schedule did and will do; soft, merged into answers.
package struct ScheduleStatus: Codable, Hashable, Sendable {
  /// The schedule's name.
  package var name: String
  /// The time of the last run that was queued.
  package var lastScheduleTime: Timestamp?
  /// The call id of that run.
  package var lastCall: String?
  /// The next time; nil while suspended, or before the function's first revision serves.
  package var nextScheduleTime: Timestamp?
  /// Runs queued since the schedule began.
  package var runs = 0
  /// Times that passed without a run; at most 100 are counted for each stretch.
  package var missed = 0
  /// The last of those times.
  package var lastMissedTime: Timestamp?
  /// Runs left out because the one before was not over.
  package var skipped = 0
  /// Whether it is suspended.
  package var suspended: Bool?

  /// A schedule that did nothing yet.
  package init(name: String) { self.name = name }
}
