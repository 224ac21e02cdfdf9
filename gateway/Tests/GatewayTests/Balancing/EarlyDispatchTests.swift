import ClusterAPI
import ClusterModel
import Testing

@testable import Gateway

/// Requests that are sent to a pod that is still starting.
@Suite("Early dispatch")
struct EarlyDispatchTests {
  /// A function at zero whose pods are known to start within 10 ms.
  private static func atZero(_ route: FunctionRoute = makeRoute(), host: String? = "here") -> Script {
    var script = Script(route, host: host)
    script.endpoint(makeEndpoint("old", .ready))
    script.endpoint(makeEndpoint("old", .gone))
    return script
  }

  @Test func `a whole request goes to a pod that listens before it is ready, and its slot is taken`() {
    var script = Self.atZero()
    let id = script.arrive(whole: true)
    #expect(script.wanted == [1])
    script.wantAnswered(true)
    script.endpoint(makeEndpoint("a", .starting, listens: true))
    #expect(script.early == [id])
    // The next one finds the pod taken, and a pod of its own is asked for.
    let next = script.arrive(whole: true)
    #expect(script.dispatched.isEmpty)
    #expect(script.wanted == [2])
    script.endpoint(makeEndpoint("a", .ready))
    #expect(script.dispatched.isEmpty)
    let keeps = script.finish(id)
    #expect(keeps, "its connection is worth keeping")
    #expect(script.dispatched.map(\.0) == [next])
    #expect(script.early.isEmpty)
  }

  @Test func `an answer that comes before the news that the pod is ready frees the slot`() {
    var script = Self.atZero()
    let id = script.arrive(whole: true)
    script.endpoint(makeEndpoint("a", .starting, listens: true))
    let keeps = script.finish(id)
    #expect(keeps)
    let next = script.arrive(whole: true)
    #expect(script.early == [next])
  }

  @Test func `a request goes early only where nothing can be lost`() {
    // Its pod is on another host, whose refusals cannot be told from crashes.
    var script = Self.atZero()
    _ = script.arrive(whole: true)
    script.endpoint(makeEndpoint("a", .starting, host: "there", listens: true))
    #expect(script.dispatched.isEmpty)
    // The gateway knows no host, the pod is to be probed first, nothing is known of how long starts take.
    script = Self.atZero(host: nil)
    _ = script.arrive(whole: true)
    script.endpoint(makeEndpoint("a", .starting, listens: true))
    #expect(script.dispatched.isEmpty)
    script = Self.atZero()
    _ = script.arrive(whole: true)
    script.endpoint(makeEndpoint("a", .starting))
    #expect(script.dispatched.isEmpty)
    script = Script(host: "here")
    _ = script.arrive(whole: true)
    script.endpoint(makeEndpoint("a", .starting, listens: true))
    #expect(script.dispatched.isEmpty)
  }

  @Test func `a request whose body is on its way goes early once all of it is held; those behind it do not overtake`() {
    var script = Self.atZero(makeRoute(concurrency: 2))
    let first = script.arrive()
    let second = script.arrive(whole: true)
    script.endpoint(makeEndpoint("a", .starting, listens: true))
    #expect(script.dispatched.isEmpty)
    script.event { $0.becameWhole(first, now: $1, actions: &$2) }
    #expect(script.early == [first, second])
  }

  @Test func `a request that came back keeps nobody behind it beyond his time`() {
    var script = Self.atZero(makeRoute(timeout: .seconds(600), queueTimeout: .seconds(10)))
    let first = script.arrive(whole: true)
    let behind = [script.arrive(), script.arrive()]
    script.endpoint(makeEndpoint("a", .starting, listens: true))
    #expect(script.early == [first])
    script.advance(milliseconds: 9000)
    script.endpoint(makeEndpoint("a", .gone))
    script.event { $0.requeue(first, early: true, whole: true, why: "its start failed", now: $1, actions: &$2) }
    let due = script.machine.nextDeadline(now: script.now)
    #expect(due.map { $0 <= script.now + 1_000_000_000 } == true)
    script.advance(milliseconds: 1000)
    #expect(script.failed.map(\.0) == behind && script.failed.allSatisfy { $0.1 == .queueTimeout })
  }

  @Test func `a start that takes its request down gives it back, however often the control plane tries`() {
    var script = Self.atZero()
    let id = script.arrive(whole: true)
    for number in 0..<20 {
      script.endpoint(makeEndpoint("p\(number)", .starting, listens: true))
      #expect(script.early == [id])
      script.endpoint(makeEndpoint("p\(number)", .gone))
      script.event {
        $0.requeue(id, early: true, whole: true, why: "its start failed", now: $1, actions: &$2)
      }
      #expect(script.failed.isEmpty)
    }
    // The control plane gives up: its word ends it.
    let failure = StartFailure(
      namespace: "default", function: "echo", code: .startFailed, message: "boom", attempts: Limits.startAttempts)
    script.event { $0.startFailed(failure, now: $1, actions: &$2) }
    #expect(script.failed.map(\.0) == [id])
  }
}
