import Testing

@testable import LambdaBridge

/// The order of the Runtime API.
@Suite struct RuntimeStateTests {
  @Test func `one runtime takes one invocation after the other`() {
    var state = RuntimeState(workers: 1)
    #expect(state.phase == .initializing)
    #expect(state.invoke("a") == .queued)
    #expect(state.next(poll: 1) == .deliver("a"))
    #expect(state.phase == .ready && state.current == "a")
    #expect(state.next(poll: 2) == .refused)
    #expect(state.invoke("b") == .queued)
    #expect(state.answer("b") == .unknownID)
    #expect(state.answer("a") == .accepted)
    #expect(state.answer("a") == .outOfOrder)
    state.answered("a")
    #expect(state.current == nil)
    #expect(state.answer("a") == .outOfOrder)
    #expect(state.next(poll: 3) == .deliver("b"))
    #expect(state.answer("a") == .outOfOrder)
    #expect(state.answer("c") == .unknownID)
  }

  @Test func `an answer before the first invocation is out of order`() {
    var state = RuntimeState(workers: 1)
    #expect(state.answer("a") == .outOfOrder)
    #expect(state.next(poll: 1) == .wait(superseded: nil))
    #expect(state.answer("a") == .outOfOrder)
  }

  @Test func `a second poll takes the place of the first`() {
    var state = RuntimeState(workers: 1)
    #expect(state.next(poll: 1) == .wait(superseded: nil))
    #expect(state.next(poll: 2) == .wait(superseded: 1))
    #expect(state.invoke("a") == .deliver(poll: 2))
    #expect(state.invoke("a") == .known)
  }

  @Test func `several workers take as many as they are, and no poll more`() {
    var state = RuntimeState(workers: 3)
    for poll in 1...3 { #expect(state.next(poll: poll) == .wait(superseded: nil)) }
    #expect(state.next(poll: 4) == .refused)
    #expect(state.invoke("a") == .deliver(poll: 1))
    #expect(state.invoke("b") == .deliver(poll: 2))
    #expect(state.next(poll: 5) == .refused)
    #expect(state.current == nil && Set(state.running) == ["a", "b"])
    #expect(state.answer("b") == .accepted)
    state.answered("b")
    #expect(state.next(poll: 6) == .wait(superseded: nil))
    #expect(state.answer("a") == .accepted)
    state.forget(poll: 3)
    #expect(state.invoke("c") == .deliver(poll: 6))
    #expect(state.invoke("d") == .queued)
    #expect(state.next(poll: 7) == .deliver("d"))
  }

  @Test func `what did not reach its poll waits in front, or goes to the next poll`() {
    var state = RuntimeState(workers: 2)
    #expect(state.next(poll: 1) == .wait(superseded: nil))
    #expect(state.invoke("a") == .deliver(poll: 1))
    #expect(state.invoke("b") == .queued)
    #expect(state.undelivered("a") == nil)
    #expect(state.next(poll: 2) == .deliver("a"))
    #expect(state.next(poll: 3) == .deliver("b"))
    state.answered("a")
    #expect(state.next(poll: 4) == .wait(superseded: nil))
    #expect(state.undelivered("b") == 4)
    #expect(state.undelivered("none") == nil)
  }

  @Test func `a caller that leaves takes only what the runtime does not have`() {
    var state = RuntimeState(workers: 1)
    #expect(state.invoke("a") == .queued)
    let isOut = state.withdraw("a")
    #expect(isOut)
    #expect(state.next(poll: 1) == .wait(superseded: nil))
    #expect(state.invoke("b") == .deliver(poll: 1))
    let others = [state.withdraw("b"), state.withdraw("a")]
    #expect(others == [false, false])
  }

  @Test func `a runtime that cannot start says so once, and takes nothing more`() {
    var state = RuntimeState(workers: 4)
    #expect(state.invoke("a") == .queued)
    let said = state.failInit()
    #expect(said && state.phase == .failed)
    let again = state.failInit()
    #expect(!again)
    let left = state.end(.failed).invocations
    #expect(left == ["a"])
    #expect(state.invoke("b") == .ended)
    #expect(state.next(poll: 1) == .refused)
    var ready = RuntimeState(workers: 1)
    #expect(ready.next(poll: 1) == .wait(superseded: nil))
    let late = ready.failInit()
    #expect(!late)
  }

  @Test func `the end of a runtime leaves nothing waiting`() {
    var state = RuntimeState(workers: 2)
    #expect(state.next(poll: 1) == .wait(superseded: nil))
    #expect(state.next(poll: 2) == .wait(superseded: nil))
    #expect(state.invoke("a") == .deliver(poll: 1))
    let left = state.end()
    #expect(left.invocations == ["a"] && left.polls == [2])
    #expect(state.answer("a") != .accepted)
    #expect(state.invoke("b") == .ended)
    let nothing = state.end().invocations
    #expect(nothing.isEmpty)
  }

  /// Random lives: every invocation is answered at most once, never by two polls, and no more run than may.
  @Test(arguments: 0..<20) func `random lives keep the rules`(_ seed: UInt64) {
    var random = Numbers(seed)
    let workers = Int.random(in: 1...4, using: &random)
    var state = RuntimeState(workers: workers)
    var (waiting, running, answering): (Set<String>, Set<String>, Set<String>) = ([], [], [])
    var polls: Set<Int> = []
    var last = 0
    for _ in 0..<2000 {
      last += 1
      switch Int.random(in: 0..<6, using: &random) {
      case 0:
        switch state.next(poll: last) {
        case .deliver(let id):
          let isNew = waiting.remove(id) != nil && running.insert(id).inserted
          #expect(isNew)
        case .wait(let superseded):
          if let superseded {
            let waited = polls.remove(superseded) != nil
            #expect(waited)
          }
          #expect(waiting.isEmpty)
          polls.insert(last)
        case .refused: #expect(workers == 1 || polls.count + running.count + answering.count == workers)
        }
      case 1:
        switch state.invoke("\(last)") {
        case .deliver(let poll):
          let waited = polls.remove(poll) != nil
          #expect(waited)
          running.insert("\(last)")
        case .queued: waiting.insert("\(last)")
        case .known, .ended: Issue.record("a new id is refused")
        }
      case 2:
        guard let id = running.randomElement(using: &random) else { continue }
        #expect(state.answer(id) == .accepted)
        running.remove(id)
        answering.insert(id)
      case 3:
        guard let id = answering.randomElement(using: &random) else { continue }
        #expect(state.answer(id) == .outOfOrder)
        state.answered(id)
        answering.remove(id)
        #expect(state.answer(id) != .accepted)
      case 4:
        guard let id = running.randomElement(using: &random) else { continue }
        running.remove(id)
        if let poll = state.undelivered(id) {
          let waited = polls.remove(poll) != nil
          #expect(waited)
          running.insert(id)
        } else {
          waiting.insert(id)
        }
      default:
        guard let id = waiting.union(running).randomElement(using: &random) else { continue }
        let (isOut, waited) = (state.withdraw(id), waiting.remove(id) != nil)
        #expect(isOut == waited)
      }
      #expect(Set(state.running) == running.union(answering))
      #expect(polls.count + running.count + answering.count <= workers)
    }
  }
}

/// Numbers that a seed decides (SplitMix64).
struct Numbers: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
