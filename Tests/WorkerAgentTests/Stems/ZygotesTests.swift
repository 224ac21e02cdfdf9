import Testing

@testable import PodSandbox
@testable import WorkerAgent

@Suite("Which zygotes serve")
struct ZygotesTests {
  @Test func `a zygote that forked often enough, or died, is replaced at once`() {
    var zygotes = Zygotes()
    #expect(zygotes.ready("a") == nil)
    let first = Zygote(ticket: 1)
    #expect(zygotes.serves(first, "a").isEmpty)
    for _ in 0..<Zygotes.forksMaximum { #expect(zygotes.ready("a") === first) }
    #expect(zygotes.ready("a") == nil && zygotes.ready("b") == nil)
    #expect(zygotes.launch("a", at: 0) { Task { nil } } != nil)
    let second = Zygote(ticket: 2)
    #expect(zygotes.serves(second, "a").map(\.ticket) == [1])
    #expect(zygotes.ready("a") === second)
    second.ended()
    #expect(zygotes.ready("a") == nil)
    #expect(zygotes.launch("a", at: 0) { Task { nil } } != nil)
  }

  @Test func `the namespace that forked longest ago makes room`() {
    var zygotes = Zygotes()
    for number in 0..<Zygotes.most {
      #expect(zygotes.serves(Zygote(ticket: UInt64(number + 1)), "n\(number)").isEmpty)
    }
    #expect(zygotes.ready("n0") != nil)
    #expect(zygotes.serves(Zygote(ticket: 99), "new").map(\.ticket) == [2])
    #expect(zygotes.ready("n0") != nil && zygotes.ready("n1") == nil)
  }

  @Test func `one launch at a time, and one that failed is not tried at once, whatever served before`() {
    var zygotes = Zygotes()
    let dead = Zygote(ticket: 1)
    _ = zygotes.serves(dead, "dead")
    dead.ended()
    for namespace in ["new", "dead"] {
      let failing = zygotes.launch(namespace, at: 1) { Task { nil } }
      #expect(failing != nil && zygotes.launch(namespace, at: 1) { Task { nil } } == failing)
      // The spawner died: no fault of the zygote.
      zygotes.failed(namespace, at: nil)
      #expect(zygotes.launch(namespace, at: 1) { Task { nil } } != nil)
      zygotes.failed(namespace, at: 2)
      #expect(zygotes.launch(namespace, at: 1 + Zygotes.failurePause) { Task { nil } } == nil)
      #expect(zygotes.launch(namespace, at: 2 + Zygotes.failurePause) { Task { nil } } != nil)
    }
  }
}
