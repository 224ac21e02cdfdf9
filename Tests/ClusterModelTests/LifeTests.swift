import ClusterModel
import ClusterTestSupport
import Testing

@Suite("Pod life")
struct LifeTests {
  @Test("the table of steps is exactly this")
  func table() {
    let allowed: [PodLife: Set<PodLife>] = [
      .wanted: [.placed, .starting, .draining, .gone], .placed: [.wanted, .starting, .ready, .draining, .gone],
      .starting: [.starting, .ready, .draining, .gone], .ready: [.starting, .draining, .gone],
      .draining: [.gone], .gone: [],
    ]
    for from in PodLife.allCases {
      for next in PodLife.allCases {
        #expect(from.canBecome(next) == (allowed[from]?.contains(next) ?? false), "\(from) → \(next)")
      }
    }
  }

  @Test("nothing comes back from gone, whatever is tried")
  func noReturn() {
    var generator = SeededGenerator(seed: 5)
    for _ in 0..<1000 {
      var life = PodLife.wanted
      var ended = false
      for _ in 0..<50 {
        let next = PodLife.allCases.randomElement(using: &generator) ?? .gone
        guard life.canBecome(next) else { continue }
        #expect(!ended)
        life = next
        ended = life == .gone
      }
    }
  }

  @Test("restarts wait 0, 100 ms, doubling to 10 s; a healthy run clears the count")
  func backoff() {
    var backoff = RestartBackoff()
    let waits = (0..<10).map { _ in backoff.crashed(afterRunning: 5) }
    #expect(waits == [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000])
    #expect(backoff.crashed(afterRunning: 20_000) == 0)
  }

  @Test("history keeps its first step and stays bounded")
  func history() {
    var detail = PodDetail(function: "f", revision: "f-00001", life: .wanted)
    for index in 0..<100 { detail.enter(.starting, at: Timestamp(milliseconds: Int64(index)), reason: nil) }
    #expect(detail.history.count == 16)
    #expect(detail.history.first?.at == Timestamp(milliseconds: 0))
    #expect(detail.history.last?.at == Timestamp(milliseconds: 99))
  }

  @Test("a typo finds its word, nonsense finds none")
  func suggestion() {
    #expect(Suggestion.nearest(to: "gret", in: ["greet", "other"]) == "greet")
    #expect(Suggestion.nearest(to: "teimout", in: ["timeout", "handler"]) == "timeout")
    #expect(Suggestion.nearest(to: "xyzzy", in: ["timeout", "handler"]) == nil)
  }
}
