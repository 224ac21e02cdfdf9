import ClusterTestSupport
import Planning
import Testing

@Suite struct ScalingPolicyTests {
  private func load(
    queued: Int, ready: Int = 0, starting: Int = 0, free: Int = 0, concurrency: Int = 1, max: Int = 10,
    oldest: Double = 0, service: Double? = nil, start: Double? = nil
  ) -> ScalingPolicy.Load {
    ScalingPolicy.Load(
      queued: queued, ready: ready, starting: starting, freeSlots: free, concurrency: concurrency, maxPods: max,
      oldestWait: oldest, serviceTime: service, startTime: start)
  }

  @Test(arguments: [(1, 1, 1), (5, 1, 5), (5, 2, 3), (6, 2, 3), (1, 100, 1), (101, 100, 2), (40, 1, 10)])
  func `k requests at zero pods want ceil k over C pods, at most max`(queued: Int, concurrency: Int, pods: Int) {
    #expect(ScalingPolicy().decide(load(queued: queued, concurrency: concurrency)).pods == pods)
  }

  @Test func `pods on their way count`() {
    #expect(ScalingPolicy().decide(load(queued: 3, ready: 2, starting: 3)).pods == 5)
    #expect(ScalingPolicy().decide(load(queued: 4, ready: 2, starting: 3)).pods == 6)
    #expect(ScalingPolicy().decide(load(queued: 1, ready: 2, starting: 3)).pods == 5)
  }

  @Test func `free slots need no pods`() {
    #expect(ScalingPolicy().decide(load(queued: 2, ready: 1, free: 2, concurrency: 4)).pods == 1)
  }

  @Test func `more pods than max are never taken away here, and the reason names the limit`() {
    let decision = ScalingPolicy().decide(load(queued: 9, ready: 4, max: 2))
    #expect(decision.pods == 4)
    #expect(decision.reason.contains("max 2 reached"))
  }

  @Test func `a start is put off while the queue is worked off sooner, but not for longer than a start takes`() {
    let policy = ScalingPolicy(waitWhenFaster: true)
    let soon = load(queued: 3, ready: 1, service: 1, start: 5)
    #expect(policy.decide(soon).pods == 1)
    #expect(policy.decide(soon).askAgainAfter == 5)
    #expect(ScalingPolicy().decide(soon).pods == 4)
    #expect(policy.decide(load(queued: 6, ready: 1, service: 1, start: 5)).pods == 7)
    #expect(policy.decide(load(queued: 3, ready: 1, oldest: 6, service: 1, start: 5)).pods == 4)
    #expect(policy.decide(load(queued: 3, ready: 0, service: 1, start: 5)).pods == 3)
  }

  @Test func `random loads: never below what exists, never above max, enough for the queue`() {
    var random = SeededGenerator(seed: 20_261)
    for _ in 0..<20_000 {
      let load = load(
        queued: .random(in: 0...50, using: &random), ready: .random(in: 0...12, using: &random),
        starting: .random(in: 0...6, using: &random), free: .random(in: 0...4, using: &random),
        concurrency: .random(in: 1...8, using: &random), max: .random(in: 1...20, using: &random),
        oldest: .random(in: 0...20, using: &random), service: .random(in: 0...20, using: &random), start: 5)
      let known = load.ready + load.starting
      let decision = ScalingPolicy().decide(load)
      #expect(decision.pods >= known && decision.pods <= max(load.maxPods, known), "seed \(random.seed): \(load)")
      let capacity = load.freeSlots + (decision.pods - load.ready) * load.concurrency
      #expect(capacity >= load.queued || decision.pods == max(load.maxPods, known), "seed \(random.seed): \(load)")
      let waiting = ScalingPolicy(waitWhenFaster: true).decide(load)
      #expect(waiting.pods == decision.pods || (waiting.pods == known && waiting.askAgainAfter != nil))
    }
  }
}

@Suite struct KeepAlivePolicyTests {
  private let second: Int64 = 1_000_000_000

  private func idle(_ seconds: Int64...) -> [KeepAlivePolicy.IdlePod] {
    seconds.enumerated().map { .init(uid: "pod-\($0.offset)", since: $0.element * second) }
  }

  @Test func `a pod is given up when it was idle long enough, longest idle first`() {
    let decision = KeepAlivePolicy().decide(
      idle: idle(5, 1, 20), ready: 3, minPods: 0, idleAfter: .seconds(30), now: 36 * second)
    #expect(decision.release == ["pod-1", "pod-0"])
    #expect(decision.next == 50 * second)
  }

  @Test func `min pods are kept, busy ones count`() {
    let decision = KeepAlivePolicy().decide(
      idle: idle(1, 2, 3), ready: 4, minPods: 2, idleAfter: .seconds(1), now: 100 * second)
    #expect(decision.release == ["pod-0", "pod-1"])
    #expect(decision.next == nil)
  }

  @Test func `nothing is due while no pod is idle`() {
    #expect(
      KeepAlivePolicy().decide(idle: [], ready: 3, minPods: 0, idleAfter: .seconds(1), now: second)
        == KeepAlivePolicy.Decision(release: [], next: nil))
  }

  @Test func `random pods: without arrivals all above min go within idleAfter, none earlier`() {
    var random = SeededGenerator(seed: 77)
    for _ in 0..<2_000 {
      let count = Int.random(in: 0...8, using: &random)
      let pods = (0..<count).map { KeepAlivePolicy.IdlePod(uid: "p\($0)", since: .random(in: 0...100, using: &random)) }
      let minPods = Int.random(in: 0...4, using: &random)
      var left = pods
      var now: Int64 = 100
      while true {
        let decision = KeepAlivePolicy().decide(
          idle: left, ready: left.count, minPods: minPods, idleAfter: .nanoseconds(50), now: now)
        for uid in decision.release {
          let pod = left.first { $0.uid == uid }
          #expect(pod.map { now - $0.since >= 50 } ?? false, "seed \(random.seed)")
          left.removeAll { $0.uid == uid }
        }
        guard let next = decision.next else { break }
        #expect(next > now)
        now = next
      }
      #expect(left.count == min(count, minPods))
      #expect(now <= 150)
    }
  }
}
