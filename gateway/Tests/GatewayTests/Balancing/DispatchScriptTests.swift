import ClusterAPI
import ClusterModel
import Testing

@testable import Gateway

@Suite struct DispatchScriptTests {
  @Test func `a request at zero pods is queued and asks for a pod at once`() {
    var script = Script()
    let id = script.arrive()
    #expect(script.wanted == [1])
    script.wantAnswered(true)
    script.endpoint(makeEndpoint("a", .starting))
    #expect(script.actions.isEmpty)
    script.now += 1
    script.endpoint(makeEndpoint("a", .ready))
    #expect(script.dispatched.map(\.0) == [id])
    if case .dispatch(_, let slot)? = script.actions.first { #expect(slot.cold) } else { Issue.record("no dispatch") }
  }

  @Test func `wishes are coalesced while one is out, and the newest total wins`() {
    var script = Script()
    _ = script.arrive()
    #expect(script.wanted == [1])
    _ = script.arrive()
    _ = script.arrive()
    #expect(script.wanted.isEmpty)
    script.wantAnswered(true)
    #expect(script.wanted == [3])
    script.wantAnswered(true)
    #expect(script.wanted.isEmpty)
  }

  @Test func `a wish that brought nothing is sent again after a second, not before`() {
    var script = Script()
    _ = script.arrive()
    script.wantAnswered(true)
    script.advance(milliseconds: 900)
    #expect(script.wanted.isEmpty)
    #expect(script.machine.nextDeadline(now: script.now) == script.now + 100_000_000)
    script.advance(milliseconds: 100)
    #expect(script.wanted == [1])
  }

  @Test func `a control plane that does not answer is named when the queue deadline passes`() {
    var script = Script()
    let id = script.arrive()
    script.wantAnswered(false)
    #expect(script.wanted.isEmpty)
    script.advance(milliseconds: 10_000)
    #expect(script.failed.map(\.0) == [id])
    #expect(script.failed.map(\.1) == [.noControlPlane])
  }

  @Test func `a request that waits too long gets queue_timeout`() {
    var script = Script(makeRoute(queueTimeout: .seconds(2)))
    let id = script.arrive()
    script.wantAnswered(true)
    #expect(script.machine.nextDeadline(now: script.now) == script.now + 1_000_000_000)
    script.advance(milliseconds: 2000)
    #expect(script.failed.map(\.0) == [id])
    #expect(script.failed.map(\.1) == [.queueTimeout])
  }

  @Test func `a full queue answers queue_full, but a free slot still takes the request`() {
    var script = Script(makeRoute(queueLimit: 1))
    _ = script.arrive()
    _ = script.arrive()
    #expect(script.failed.map(\.1) == [.queueFull])
    var direct = Script(makeRoute(queueLimit: 0))
    direct.endpoint(makeEndpoint("a", .ready))
    _ = direct.arrive()
    #expect(direct.dispatched.count == 1)
    _ = direct.arrive()
    #expect(direct.failed.map(\.1) == [.queueFull])
  }

  @Test func `a freed slot takes the head`() {
    var script = Script()
    script.endpoint(makeEndpoint("a", .ready))
    let first = script.arrive()
    let second = script.arrive()
    let third = script.arrive()
    let keep = script.finish(first)
    #expect(keep)
    #expect(script.dispatched.map(\.0) == [second])
    script.finish(second)
    #expect(script.dispatched.map(\.0) == [third])
  }

  @Test func `requests are packed into the fullest pod below the limit`() {
    var script = Script(makeRoute(concurrency: 2))
    script.endpoint(makeEndpoint("a", .ready))
    script.endpoint(makeEndpoint("b", .ready))
    let pods = (0..<4).map { _ in
      _ = script.arrive()
      return script.dispatched[0].1
    }
    #expect(pods[0] == pods[1])
    #expect(pods[2] == pods[3])
    #expect(pods[0] != pods[2])
  }

  @Test func `a client that leaves the queue is never dispatched`() {
    var script = Script()
    let gone = script.arrive()
    let stays = script.arrive()
    let left = script.machine.cancel(gone)
    #expect(left)
    let again = script.machine.cancel(gone)
    #expect(!again)
    script.endpoint(makeEndpoint("a", .ready))
    #expect(script.dispatched.map(\.0) == [stays])
  }

  @Test func `a draining pod gets nothing more and is confirmed when its last call ended`() {
    var script = Script(makeRoute(concurrency: 2))
    script.endpoint(makeEndpoint("a", .ready))
    let one = script.arrive()
    let two = script.arrive()
    script.endpoint(makeEndpoint("a", .draining))
    #expect(script.givenUp.isEmpty)
    #expect(script.actions.contains(.retire(PodKey(uid: "a", incarnation: 1), abort: false)))
    _ = script.arrive()
    #expect(script.dispatched.isEmpty)
    let keep = script.finish(one)
    #expect(!keep)
    #expect(script.givenUp.isEmpty)
    script.finish(two)
    #expect(script.givenUp == ["a"])
    script.endpoint(makeEndpoint("a", .draining))
    #expect(script.givenUp == ["a"])
  }

  @Test func `an idle pod is given up after idleAfter and taken back when the control plane offers it again`() {
    var script = Script(makeRoute(idleAfter: .seconds(5)))
    script.endpoint(makeEndpoint("a", .ready))
    script.finish(script.arrive())
    #expect(script.machine.nextDeadline(now: script.now) == script.now + 5_000_000_000)
    script.advance(milliseconds: 4999)
    #expect(script.givenUp.isEmpty)
    script.advance(milliseconds: 1)
    #expect(script.givenUp == ["a"])
    let late = script.arrive()
    #expect(script.dispatched.isEmpty)
    #expect(script.wanted == [1])
    script.endpoint(makeEndpoint("a", .ready))
    #expect(script.dispatched.map(\.0) == [late])
  }

  @Test func `min pods are not given up`() {
    var script = Script(makeRoute(min: 1, idleAfter: .seconds(1)))
    script.endpoint(makeEndpoint("a", .ready))
    script.endpoint(makeEndpoint("b", .ready))
    script.advance(milliseconds: 5000)
    #expect(script.givenUp.count == 1)
    #expect(script.machine.nextDeadline(now: script.now) == nil)
  }

  @Test func `after a redeploy new and waiting requests go to the new revision only`() {
    var script = Script()
    script.endpoint(makeEndpoint("old", .ready))
    let running = script.arrive()
    let waiting = script.arrive()
    script.endpoint(makeEndpoint("new", .ready, revision: "echo-00002"))
    #expect(script.dispatched.isEmpty)
    script.event { $0.routeChanged(makeRoute(revision: "echo-00002"), now: $1, actions: &$2) }
    #expect(script.dispatched.map(\.1) == ["new"])
    #expect(script.dispatched.map(\.0) == [waiting])
    script.finish(running)
    #expect(script.dispatched.isEmpty)
    let next = script.arrive()
    #expect(script.dispatched.isEmpty)
    script.finish(waiting)
    #expect(script.dispatched.map(\.0) == [next])
  }

  @Test func `a pod that refused is left alone for a while, and its request keeps its place`() {
    var script = Script()
    script.endpoint(makeEndpoint("a", .ready))
    let first = script.arrive()
    let second = script.arrive()
    script.event { $0.requeue(first, why: "refused", now: $1, actions: &$2) }
    #expect(script.dispatched.isEmpty)
    script.advance(milliseconds: 49)
    #expect(script.dispatched.isEmpty)
    script.advance(milliseconds: 1)
    #expect(script.dispatched.map(\.0) == [first])
    script.finish(first)
    #expect(script.dispatched.map(\.0) == [second])
  }

  @Test func `a request that reaches no pod is answered after a bounded number of attempts`() {
    var script = Script()
    script.endpoint(makeEndpoint("a", .ready))
    let id = script.arrive()
    for attempt in 0...GatewayLimits.requeues {
      script.event { $0.requeue(id, why: "refused", now: $1, actions: &$2) }
      if attempt == GatewayLimits.requeues { break }
      script.advance(milliseconds: 1000)
      #expect(script.dispatched.map(\.0) == [id])
    }
    #expect(script.failed.map(\.1) == [.podCrashed])
  }

  @Test func `a restart is another pod: the old start's calls do not count in the new one`() {
    var script = Script()
    script.endpoint(makeEndpoint("a", .ready))
    let old = script.arrive()
    script.endpoint(makeEndpoint("a", .starting, incarnation: 2))
    #expect(script.actions.contains(.retire(PodKey(uid: "a", incarnation: 1), abort: true)))
    script.endpoint(makeEndpoint("a", .ready, incarnation: 2))
    _ = script.arrive()
    #expect(script.dispatched.count == 1)
    script.finish(old)
    #expect(script.machine.pods["a"]?.inFlight == 1)
    script.endpoint(makeEndpoint("a", .gone, incarnation: 1))
    #expect(script.machine.pods["a"] != nil)
  }

  @Test func `a pod forgotten by a new snapshot comes back with its calls inside`() {
    var script = Script()
    script.endpoint(makeEndpoint("a", .ready))
    let inside = script.arrive()
    script.event { $0.keepOnly([], now: $1, actions: &$2) }
    let waiting = script.arrive()
    #expect(script.wanted == [1])
    script.endpoint(makeEndpoint("a", .ready))
    #expect(script.dispatched.isEmpty)
    script.finish(inside)
    #expect(script.dispatched.map(\.0) == [waiting])
  }

  @Test func `three failed starts answer who waits, fewer are only noted`() {
    var script = Script()
    let id = script.arrive()
    func failure(_ attempts: Int, _ code: CallErrorCode = .startFailed) -> StartFailure {
      StartFailure(namespace: "default", function: "echo", code: code, message: "exit 1: boom", attempts: attempts)
    }
    script.event { $0.startFailed(failure(2), now: $1, actions: &$2) }
    #expect(script.failed.isEmpty)
    script.event { $0.startFailed(failure(3), now: $1, actions: &$2) }
    #expect(script.actions == [.fail(id, .startFailed, "exit 1: boom")])
    script.endpoint(makeEndpoint("a", .ready))
    _ = script.arrive()
    _ = script.arrive()
    script.event { $0.startFailed(failure(3, .noCapacity), now: $1, actions: &$2) }
    #expect(script.failed.isEmpty, "the pods there are still work the queue off")
  }

  @Test func `a deleted function answers who waits and lets run what runs`() {
    var script = Script()
    script.endpoint(makeEndpoint("a", .ready))
    let running = script.arrive()
    let waiting = script.arrive()
    script.event { $0.functionRemoved(now: $1, actions: &$2) }
    #expect(script.failed.map(\.0) == [waiting])
    #expect(script.failed.map(\.1) == [.functionNotFound])
    _ = script.arrive()
    #expect(script.failed.map(\.1) == [.functionNotFound])
    script.endpoint(makeEndpoint("a", .draining))
    #expect(script.givenUp.isEmpty)
    script.finish(running)
    #expect(script.givenUp == ["a"])
  }

  @Test func `without a serving revision requests wait, unless it is known why there is none`() {
    var script = Script(makeRoute(revision: nil))
    let id = script.arrive()
    #expect(script.actions.isEmpty)
    script.endpoint(makeEndpoint("a", .ready))
    #expect(script.dispatched.isEmpty)
    script.event { $0.routeChanged(makeRoute(), now: $1, actions: &$2) }
    #expect(script.dispatched.map(\.0) == [id])
    var broken = Script(makeRoute(revision: nil, unavailable: "revision echo-00001 exited with 1"))
    _ = broken.arrive()
    #expect(broken.failed.map(\.1) == [.startFailed])
  }

  @Test func `nothing of an earlier wish keeps the clock ticking while there is no revision`() {
    var script = Script(makeRoute(max: 1))
    let first = script.arrive()
    script.wantAnswered(true)
    script.advance(milliseconds: 100)
    #expect(script.machine.nextDeadline(now: script.now).map { $0 > script.now } == true)
    script.event { machine, _, _ in _ = machine.cancel(first) }
    script.event { $0.functionRemoved(now: $1, actions: &$2) }
    script.advance(milliseconds: 60_000)
    script.event { $0.routeChanged(makeRoute(uid: "f2", revision: nil), now: $1, actions: &$2) }
    _ = script.arrive()
    script.advance(milliseconds: 1)
    #expect(script.machine.nextDeadline(now: script.now).map { $0 > script.now } == true)
  }

  @Test func `a pod that does not end a cancelled call gets nothing more, and is given up when nothing else runs`() {
    var script = Script(makeRoute(concurrency: 2))
    script.endpoint(makeEndpoint("a", .ready))
    let stuck = script.arrive()
    let other = script.arrive()
    script.event { $0.quarantine(stuck, now: $1, actions: &$2) }
    #expect(script.givenUp.isEmpty)
    script.finish(other)
    #expect(script.givenUp == ["a"])
    let waiting = script.arrive()
    #expect(script.dispatched.isEmpty)
    script.finish(stuck)
    #expect(script.dispatched.isEmpty, "given up is given up until it is offered again")
    script.endpoint(makeEndpoint("a", .ready))
    #expect(script.dispatched.map(\.0) == [waiting])
  }

  @Test func `news of an earlier start are ignored`() {
    var script = Script()
    script.endpoint(makeEndpoint("a", .ready, incarnation: 3))
    script.endpoint(makeEndpoint("a", .draining, incarnation: 2))
    _ = script.arrive()
    #expect(script.dispatched.count == 1)
  }

  @Test func `a snapshot is the whole truth, also where it counts starts anew`() {
    var script = Script()
    script.endpoint(makeEndpoint("a", .ready, incarnation: 3))
    script.event {
      $0.endpointChanged(makeEndpoint("a", .ready, incarnation: 1), inSnapshot: true, now: $1, actions: &$2)
    }
    #expect(script.actions.contains(.retire(PodKey(uid: "a", incarnation: 3), abort: false)))
    script.endpoint(makeEndpoint("a", .gone, incarnation: 1))
    #expect(script.machine.pods["a"] == nil)
  }

  @Test func `a pod that dies under the queue is replaced by a wish at once`() {
    var script = Script(makeRoute(max: 1))
    _ = script.arrive()
    script.wantAnswered(true)
    script.endpoint(makeEndpoint("a", .starting))
    script.endpoint(makeEndpoint("a", .gone))
    #expect(script.wanted == [1])
  }
}
