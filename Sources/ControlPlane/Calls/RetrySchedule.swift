import ClusterAPI
import ClusterModel

/// What becomes of a call after an attempt; pure.
enum RetrySchedule {
  /// What to do with the call.
  enum Verdict: Hashable {
    /// The function answered.
    case done
    /// It is tried again at a moment; `counts` is false when nothing was sent.
    case retry(at: Timestamp, reason: String, counts: Bool)
    /// It is kept as a dead letter.
    case dead(reason: String)
  }

  /// Judges an attempt. `attempts` counts the attempts that ended, this one included; `chance` is in 0…1.
  ///
  /// Any answer of 2xx to 4xx but 429 is the function's word. A 4xx of the platform itself would be the same next time.
  static func verdict(_ outcome: CallOutcome, attempts: Int, now: Timestamp, chance: Double) -> Verdict {
    let reason: String
    var asked: Int64?
    switch outcome {
    case .unreached(let why):
      return .retry(at: now.advanced(milliseconds: Limits.asyncUnreachedPause), reason: why, counts: false)
    case .broken(let why): reason = why
    case .answered(let answer):
      let code = answer.platformCode
      // The gateway has not heard yet of any function, or of the token of this start of the server, or it stops: the
      // call met no function.
      let early: [CallErrorCode] = [.noControlPlane, .draining, .unauthorized]
      if let code, early.contains(where: { $0.rawValue == code }) {
        let at = now.advanced(milliseconds: Limits.asyncUnreachedPause)
        return .retry(at: at, reason: "the gateway answered \(code)", counts: false)
      }
      if code == CallErrorCode.functionNotFound.rawValue { return .dead(reason: "the function does not exist") }
      guard answer.status >= 500 || answer.status == 429 else {
        guard let code, answer.status >= 400 else { return .done }
        return .dead(reason: "the gateway refused it: \(answer.status) \(code)")
      }
      reason = code.map { "\(answer.status) \($0)" } ?? "the function answered \(answer.status)"
      asked = answer.header("retry-after").flatMap { retryAfter($0, now: now) }
    }
    guard attempts < Limits.asyncAttempts else { return .dead(reason: "\(attempts) attempts, the last: \(reason)") }
    let wait = max(backoff(attempts: attempts, chance: chance), asked ?? 0)
    return .retry(at: now.advanced(milliseconds: wait), reason: reason, counts: true)
  }

  /// The wait after so many attempts, milliseconds: a part that chance picks of a bound that doubles.
  static func backoff(attempts: Int, chance: Double) -> Int64 {
    let doublings = min(max(0, attempts - 1), 30)
    let bound = min(Limits.asyncBackoff << Int64(doublings), Limits.asyncBackoffMaximum)
    return Int64(Double(bound) * min(1, max(0, chance)))
  }

  /// A `Retry-After` (seconds, or a date of RFC 9110) as milliseconds from now, at most `asyncRetryAfterMaximum`; nil
  /// when it is neither.
  static func retryAfter(_ text: String, now: Timestamp) -> Int64? {
    let text = text.split(separator: " ").joined(separator: " ")
    let wait: Int64
    if !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }) {
      // What does not fit into a number is more than the bound, too.
      wait = (Int64(text) ?? .max / 1000).multipliedReportingOverflow(by: 1000).partialValue
      if Int64(text).map({ $0 > Limits.asyncRetryAfterMaximum / 1000 }) ?? true { return Limits.asyncRetryAfterMaximum }
    } else if let date = httpDate(text) {
      wait = date.milliseconds(since: now)
    } else {
      return nil
    }
    return min(max(0, wait), Limits.asyncRetryAfterMaximum)
  }

  /// `Sun, 06 Nov 1994 08:49:37 GMT`.
  private static func httpDate(_ text: String) -> Timestamp? {
    let parts = text.split(separator: " ")
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    guard parts.count == 6, parts[5] == "GMT", parts[1].count == 2, parts[3].count == 4, parts[4].count == 8,
      let month = months.firstIndex(of: String(parts[2]))
    else { return nil }
    let number = month + 1
    return Timestamp("\(parts[3])-\(number < 10 ? "0" : "")\(number)-\(parts[1])T\(parts[4])Z")
  }
}
