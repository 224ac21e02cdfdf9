import Testing

@testable import WorkerAgent

@Suite("Line limiter")
struct LineLimiterTests {
  @Test func `lines beyond the bound of a second are dropped, counted, and told once in the next`() {
    var limiter = LineLimiter(limit: 3)
    let second: Int64 = 1_000_000_000
    #expect((0..<5).map { limiter.admit(uptime: 10 * second + Int64($0)) } == [true, true, true, false, false])
    #expect(limiter.overdue(uptime: 10 * second + 9) == nil)
    #expect(limiter.due(uptime: 10 * second + second / 2) == 501)
    #expect(limiter.overdue(uptime: 11 * second) == 2)
    #expect(limiter.overdue(uptime: 11 * second) == nil)
    #expect(limiter.due(uptime: 11 * second) == nil)
    let again = limiter.admit(uptime: 11 * second)
    #expect(again)
  }

  @Test func `bytes of a second are bounded, too`() {
    var limiter = LineLimiter(limit: 100, bytesLimit: 10)
    #expect((0..<4).map { _ in limiter.admit(uptime: 0, bytes: 6) } == [true, true, false, false])
    #expect(limiter.overdue(uptime: 1_000_000_000) == 2)
    let again = limiter.admit(uptime: 1_000_000_000, bytes: 6)
    #expect(again)
  }

  @Test func `a pod that never pauses is told of every second`() {
    var limiter = LineLimiter(limit: 2)
    var told: [Int] = []
    for tick in 0..<50 {
      let now = Int64(tick) * 100_000_000
      _ = limiter.admit(uptime: now)
      if let dropped = limiter.overdue(uptime: now) { told.append(dropped) }
    }
    #expect(told == [8, 8, 8, 8])
  }

  @Test func `what was dropped is told at the end too`() {
    var limiter = LineLimiter(limit: 1)
    _ = limiter.admit(uptime: 0)
    _ = limiter.admit(uptime: 1)
    #expect(limiter.takeDropped() == 1)
    #expect(limiter.takeDropped() == nil)
  }
}
