import ClusterAPI
import ClusterModel
import Testing

@testable import ControlPlane

/// What an attempt means, how long a call waits, and where callbacks may go.
@Suite("Asynchronous calls: rules") struct CallRuleTests {
  private let now = Timestamp(milliseconds: 1_800_000_000_000)

  private func verdict(
    _ status: Int, code: CallErrorCode? = nil, headers: [CallHeader] = [], attempts: Int = 1, chance: Double = 1
  ) -> RetrySchedule.Verdict {
    let answer = CallAnswer(status: status, headers: headers, platformCode: code?.rawValue)
    return RetrySchedule.verdict(.answered(answer), attempts: attempts, now: now, chance: chance)
  }

  private func wait(_ verdict: RetrySchedule.Verdict) -> Int64? {
    if case .retry(let at, _, true) = verdict { return at.milliseconds(since: now) }
    return nil
  }

  @Test(arguments: [200, 204, 301, 400, 404, 409, 499])
  func `what the function answers below 500, except 429, is its word`(status: Int) {
    #expect(verdict(status) == .done)
  }

  @Test(arguments: [429, 500, 502, 503, 599])
  func `a busy or broken function is called again, five times in all`(status: Int) {
    #expect((1...4).map { wait(verdict(status, attempts: $0)) } == [1000, 2000, 4000, 8000])
    guard case .dead(let reason) = verdict(status, attempts: Limits.asyncAttempts) else {
      Issue.record("the fifth attempt is the last")
      return
    }
    #expect(reason.contains("5 attempts") && reason.contains("\(status)"))
  }

  @Test func `chance picks any part of the wait, and the wait is bounded`() {
    #expect(RetrySchedule.backoff(attempts: 1, chance: 0) == 0)
    #expect(RetrySchedule.backoff(attempts: 3, chance: 0.5) == 2000)
    #expect(RetrySchedule.backoff(attempts: 40, chance: 1) == Limits.asyncBackoffMaximum)
    #expect(RetrySchedule.backoff(attempts: 2, chance: 7) == 2000)
  }

  @Test func `Retry-After is honoured as seconds and as a date, within its bound`() {
    let seconds = verdict(503, headers: [CallHeader("Retry-After", "7")], chance: 0)
    #expect(wait(seconds) == 7000)
    #expect(wait(verdict(429, headers: [CallHeader("retry-after", "999999")])) == Limits.asyncRetryAfterMaximum)
    #expect(wait(verdict(503, headers: [CallHeader("Retry-After", "soon")], chance: 0)) == 0)
    let huge = String(repeating: "9", count: 40)
    #expect(RetrySchedule.retryAfter(huge, now: now) == Limits.asyncRetryAfterMaximum)
    #expect(RetrySchedule.retryAfter("Fri, 15 Jan 2027 08:00:09 GMT", now: now) == 9000)
    #expect(RetrySchedule.retryAfter("Sun, 06 Nov 1994 08:49:37 GMT", now: now) == 0)
    #expect(RetrySchedule.retryAfter("-1", now: now) == nil)
  }

  @Test func `what met no gateway is no attempt, whatever came before`() {
    let unreached = RetrySchedule.verdict(.unreached("refused"), attempts: 99, now: now, chance: 1)
    guard case .retry(_, _, counts: false) = unreached else {
      Issue.record("\(unreached)")
      return
    }
    for code in [CallErrorCode.noControlPlane, .draining, .unauthorized] {
      guard case .retry(_, _, counts: false) = verdict(503, code: code, attempts: 99) else {
        Issue.record("\(code)")
        continue
      }
    }
    #expect(wait(RetrySchedule.verdict(.broken("reset"), attempts: 1, now: now, chance: 1)) == 1000)
  }

  @Test func `what the platform refuses for good is a dead letter at once`() {
    #expect(verdict(404, code: .functionNotFound) == .dead(reason: "the function does not exist"))
    #expect(verdict(413, code: .bodyTooLarge) == .dead(reason: "the gateway refused it: 413 body_too_large"))
    #expect(wait(verdict(429, code: .queueFull)) == 1000)
    #expect(wait(verdict(502, code: .podCrashed)) == 1000)
  }

  @Test(arguments: [
    ("http://example.com/a?b=c", "example.com", 80), ("HTTPS://Example.com:8443", "Example.com", 8443),
    ("https://[2001:db8::1]/x", "2001:db8::1", 443), ("http://10.0.0.1:9/", "10.0.0.1", 9),
  ])
  func `a callback's URL is taken apart`(url: String, host: String, port: Int) throws {
    let target = try CallbackRules.check(url).get()
    #expect(target.host == host && target.port == port)
  }

  @Test(arguments: [
    "ftp://example.com/", "example.com", "http://", "http:///x", "http://user@example.com/", "http://a b/",
    "http://a:0/", "http://a:65536/", "http://a:x/", "http://[::1", "http://[nope]/", "http://a\\b/", "http://a/#x", "",
    "javascript:alert(1)", "http://a%00b/",
  ])
  func `what is no URL of http or https is refused`(url: String) {
    #expect(throws: CallbackRules.Fault.self) { try CallbackRules.check(url).get() }
  }

  @Test(arguments: [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1",
    "2002:a00:1::",
  ])
  func `callbacks to addresses that are not public are refused unless allowed`(text: String) throws {
    let address = try #require(AddressRange.address(text))
    #expect(CallbackRules().refusal(of: address) != nil)
    let all = [AddressRange("0.0.0.0/0"), AddressRange("::/0")].compactMap { $0 }
    #expect(CallbackRules(allowed: all).refusal(of: address) == nil)
  }

  @Test func `public addresses pass, and ranges end where they say`() throws {
    for text in ["1.1.1.1", "172.32.0.1", "172.15.255.255", "100.128.0.1", "2606:4700::1111", "126.255.255.255"] {
      let address = try #require(AddressRange.address(text))
      #expect(CallbackRules().refusal(of: address) == nil, "\(text)")
    }
    let range = try #require(AddressRange("10.20.0.0/14"))
    #expect(range.contains([10, 23, 255, 255]) && !range.contains([10, 24, 0, 0]) && !range.contains([10, 19, 0, 0]))
    for text in ["10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "x/8", "", "::/129", "10.0.0.0/8/8"] {
      #expect(AddressRange(text) == nil, "\(text)")
    }
  }
}
