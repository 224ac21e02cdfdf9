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

  @Test("a sentence keeps its beginning and its end within its bound, and its characters whole")
  func sentences() {
    #expect("short".shortened(to: 5) == "short")
    #expect("0123456789".shortened(to: 4) == "01… (6 bytes left out) …89")
    #expect("é0é".shortened(to: 3) == "… (3 bytes left out) …é" || "é0é".shortened(to: 3).hasSuffix("…é"))
    for length in 0..<40 {
      let text = String(repeating: "a€𝄞é", count: 10).shortened(to: length)
      #expect(!text.contains("\u{fffd}") && text.utf8.count <= length + 48, "\(length): \(text)")
    }
    var detail = PodDetail(function: "f", revision: "f-00001", life: .wanted)
    let long = "begins" + String(repeating: "x", count: 4 << 20) + "ends"
    detail.enter(.gone, at: Timestamp(milliseconds: 0), reason: "StartFailed", message: long)
    #expect(detail.message?.hasPrefix("beginsx") == true && detail.message?.hasSuffix("xends") == true)
    #expect((detail.message?.utf8.count ?? 0) < Limits.messageBytes + 100)
  }

  @Test("a typo finds its word, nonsense finds none")
  func suggestion() {
    #expect(Suggestion.nearest(to: "gret", in: ["greet", "other"]) == "greet")
    #expect(Suggestion.nearest(to: "teimout", in: ["timeout", "handler"]) == "timeout")
    #expect(Suggestion.nearest(to: "xyzzy", in: ["timeout", "handler"]) == nil)
  }
}
