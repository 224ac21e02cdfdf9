import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Testing

@testable import Gateway

/// Random events on a virtual clock against a control plane made of a dictionary. After every event:
/// P1 no pod holds more calls than `concurrency`. P2 a request waits only while no slot is free. P3 first dispatches
/// are in order of arrival. P4 every request has at most one outcome, and at the end exactly one. P5 the machine's
/// counts are those of the model. P6 a call is dispatched only to a pod that takes calls: ready, of the serving
/// revision, not draining, not given up; or, if all of it is held, starting and listening on the gateway's host. P7 a pod is confirmed idle only with no call inside. P8 whoever waits has a
/// deadline set. P9 wishes are bounded by max and sent one at a time.
private struct Model {
  var script: Script
  var random: SeededGenerator
  var pods: [String: EndpointRoute] = [:]
  var inside: [RequestID: String] = [:]
  var waiting: Set<RequestID> = []
  var outcomes: [RequestID: String] = [:]
  var everDispatched: Set<RequestID> = []
  var lastFirst: RequestID = 0
  var outstanding = 0
  var revision = 1
  var nextPod = 0
  var abandoned: Set<RequestID> = []
  var arrived = 0
  var whole: Set<RequestID> = []
  var early: Set<RequestID> = []

  init(seed: UInt64) {
    random = SeededGenerator(seed: seed)
    let concurrency = Int.random(in: 1...3, using: &random)
    script = Script(
      makeRoute(
        concurrency: concurrency, min: Int.random(in: 0...1, using: &random),
        max: Int.random(in: 1...4, using: &random),
        idleAfter: TimeSpan(milliseconds: .random(in: 5...200, using: &random)),
        queueLimit: Int.random(in: 1...12, using: &random),
        queueTimeout: TimeSpan(milliseconds: .random(in: 20...2000, using: &random))),
      host: Int.random(in: 0...3, using: &random) > 0 ? "here" : nil)
  }

  var route: FunctionRoute { script.machine.route }

  mutating func step() {
    script.short = Bool.random(using: &random)
    script.now += Int64.random(in: 0...3_000_000, using: &random)
    if let due = script.machine.nextDeadline(now: script.now), due <= script.now {
      script.event { $0.tick(now: $1, actions: &$2) }
      observe()
    }
    switch Int.random(in: 0..<100, using: &random) {
    case 0..<35: arrive()
    case 35..<60: end()
    case 60..<65: leave()
    case 65..<70: retry()
    case 70..<80: controlPlaneStarts()
    case 80..<84: controlPlaneStops()
    case 84..<87: crash()
    case 87..<90: redeploy()
    case 90..<92: snapshot()
    case 92..<94: quarantine()
    case 94..<96: startFailed()
    default:
      script.now += Int64.random(in: 0...50_000_000, using: &random)
      script.event { $0.tick(now: $1, actions: &$2) }
      observe()
    }
    check()
  }

  mutating func arrive() {
    let isWhole = Bool.random(using: &random)
    let id = script.arrive(whole: isWhole)
    waiting.insert(id)
    if isWhole { whole.insert(id) }
    arrived += 1
    observe()
    guard !isWhole, Bool.random(using: &random) else { return }
    whole.insert(id)
    script.event { $0.becameWhole(id, now: $1, actions: &$2) }
    observe()
  }

  mutating func end() {
    guard let id = inside.keys.sorted().randomElement(using: &random) else { return }
    inside[id] = nil
    if !abandoned.contains(id) { settle(id, "answered") }
    script.finish(id, suspect: Int.random(in: 0..<10, using: &random) == 0)
    observe()
  }

  mutating func leave() {
    guard let id = waiting.sorted().randomElement(using: &random) else { return }
    let left = script.machine.cancel(id)
    #expect(left)
    waiting.remove(id)
    settle(id, "left")
  }

  mutating func retry() {
    guard let id = inside.keys.filter({ !abandoned.contains($0) }).sorted().randomElement(using: &random) else {
      return
    }
    inside[id] = nil
    waiting.insert(id)
    let (wasEarly, isWhole) = (early.contains(id), whole.contains(id))
    script.event { $0.requeue(id, early: wasEarly, whole: isWhole, why: "refused", now: $1, actions: &$2) }
    observe()
  }

  mutating func quarantine() {
    guard let id = inside.keys.sorted().randomElement(using: &random), abandoned.insert(id).inserted else { return }
    settle(id, "timed out")
    script.event { $0.quarantine(id, now: $1, actions: &$2) }
    observe()
  }

  mutating func controlPlaneStarts() {
    if outstanding > 0, Bool.random(using: &random) {
      outstanding -= 1
      let delivered = Int.random(in: 0..<8, using: &random) > 0
      script.wantAnswered(delivered)
      if delivered, pods.count < route.maxPods {
        nextPod += 1
        send(
          makeEndpoint(
            "p\(nextPod)", .starting, revision: revisionName,
            host: Int.random(in: 0...3, using: &random) > 0 ? "here" : "there",
            listens: Bool.random(using: &random)))
      }
      observe()
    } else if let pod = pods.values.filter({ $0.state == .starting }).min(by: { $0.uid < $1.uid }) {
      send(makeEndpoint(pod.uid, .ready, revision: pod.revision, incarnation: pod.incarnation))
    }
  }

  mutating func controlPlaneStops() {
    guard let pod = somePod(.ready) else { return }
    send(makeEndpoint(pod.uid, .draining, revision: pod.revision, incarnation: pod.incarnation))
  }

  mutating func crash() {
    guard let pod = pods.values.sorted(by: { $0.uid < $1.uid }).randomElement(using: &random) else { return }
    let restart = Bool.random(using: &random)
    for (id, uid) in inside where uid == "\(pod.uid)/\(pod.incarnation)" {
      inside[id] = nil
      if !abandoned.contains(id) { settle(id, "crashed") }
      script.finish(id, suspect: true)
      observe()
    }
    send(
      restart
        ? makeEndpoint(pod.uid, .starting, revision: pod.revision, incarnation: pod.incarnation + 1)
        : makeEndpoint(pod.uid, .gone, revision: pod.revision, incarnation: pod.incarnation))
  }

  mutating func redeploy() {
    revision += 1
    nextPod += 1
    send(makeEndpoint("p\(nextPod)", .ready, revision: revisionName))
    let old = route
    let new = makeRoute(
      revision: revisionName, concurrency: old.concurrency, min: old.minPods, max: old.maxPods,
      idleAfter: old.idleAfter, queueLimit: old.queueLimit, queueTimeout: old.queueTimeout)
    script.event { $0.routeChanged(new, now: $1, actions: &$2) }
    observe()
    for pod in pods.values.sorted(by: { $0.uid < $1.uid }) where pod.revision != revisionName && pod.state == .ready {
      send(makeEndpoint(pod.uid, .draining, revision: pod.revision, incarnation: pod.incarnation))
    }
  }

  mutating func snapshot() {
    let kept = pods.values.filter { _ in Int.random(in: 0..<4, using: &random) > 0 }
    pods = Dictionary(uniqueKeysWithValues: kept.map { ($0.uid, $0) })
    for pod in kept.sorted(by: { $0.uid < $1.uid }) { send(pod) }
    script.event { $0.keepOnly(Set(kept.map(\.uid)), now: $1, actions: &$2) }
    observe()
  }

  mutating func startFailed() {
    let failure = StartFailure(
      namespace: "default", function: "echo", code: .startFailed, message: "boom",
      attempts: Int.random(in: 1...4, using: &random))
    script.event { $0.startFailed(failure, now: $1, actions: &$2) }
    observe()
  }

  mutating func send(_ endpoint: EndpointRoute) {
    pods[endpoint.uid] = endpoint.state == .gone ? nil : endpoint
    script.endpoint(endpoint)
    observe()
  }

  mutating func observe() {
    for action in script.actions {
      switch action {
      case .dispatch(let id, let slot):
        #expect(waiting.remove(id) != nil, "P4 dispatched twice or after its end")
        if everDispatched.insert(id).inserted {
          #expect(id > lastFirst, "P3")
          lastFirst = id
        }
        let pod = pods[slot.key.uid]
        if slot.isEarly {
          early.insert(id)
          #expect(whole.contains(id) && slot.cold && pod?.endpoint?.host == script.machine.host, "P6 early")
        } else {
          early.remove(id)
        }
        #expect(
          pod?.state == (slot.isEarly ? .starting : .ready) && pod?.revision == route.revision
            && pod?.incarnation == slot.key.incarnation,
          "P6 \(slot.key) \(pod.map { "\($0.state) \($0.revision)" } ?? "unknown")")
        inside[id] = "\(slot.key.uid)/\(slot.key.incarnation)"
      case .fail(let id, let code, _):
        #expect(waiting.remove(id) != nil, "P4")
        settle(id, code.rawValue)
      case .want(_, let pods, _):
        outstanding += 1
        #expect(outstanding == 1, "P9")
        #expect(pods <= max(route.maxPods, self.pods.count), "P9")
      case .podIdle(let uid, _):
        let live = inside.filter { !abandoned.contains($0.key) }
        if let pod = pods[uid] { #expect(!live.values.contains("\(uid)/\(pod.incarnation)"), "P7") }
        if pods[uid]?.state == .draining, !inside.values.contains(where: { $0.hasPrefix("\(uid)/") }) {
          pods[uid] = nil
        }
      case .retire: break
      }
    }
    script.actions = []
  }

  mutating func settle(_ id: RequestID, _ outcome: String) {
    #expect(outcomes[id] == nil, "P4 a second outcome \(outcome) after \(outcomes[id] ?? "")")
    outcomes[id] = outcome
  }

  func check() {
    let machine = script.machine
    for pod in machine.pods.values {
      #expect(pod.inFlight <= route.concurrency && pod.inFlight >= 0, "P1")
      #expect(pod.inFlight == inside.values.count { $0 == "\(pod.key.uid)/\(pod.key.incarnation)" }, "P5")
    }
    #expect(machine.queue.count == waiting.count, "P5")
    #expect(machine.running.count == inside.count, "P5")
    if !machine.queue.isEmpty {
      let free = machine.pods.values.contains { $0.freeSlots(route.revision ?? "", route.concurrency) > 0 }
      #expect(!free, "P2")
      #expect(machine.nextDeadline(now: script.now) != nil, "P8")
    }
  }

  /// Lets the control plane catch up and time pass until nobody waits.
  mutating func settleAll() {
    for id in inside.keys.sorted() {
      inside[id] = nil
      if !abandoned.contains(id) { settle(id, "answered") }
      script.finish(id)
      observe()
    }
    var rounds = 0
    while !waiting.isEmpty || !inside.isEmpty, rounds < 10_000 {
      rounds += 1
      script.now += 10_000_000
      script.event { $0.tick(now: $1, actions: &$2) }
      observe()
      for id in inside.keys.sorted() {
        inside[id] = nil
        settle(id, "answered")
        script.finish(id)
        observe()
      }
    }
    #expect(outcomes.count == arrived, "P4 a request without an outcome")
  }

  var revisionName: String { "echo-0000\(revision)" }

  func somePod(_ state: EndpointRoute.State) -> EndpointRoute? {
    var generator = random
    return pods.values.filter { $0.state == state }.sorted { $0.uid < $1.uid }.randomElement(using: &generator)
  }
}

@Suite struct DispatchPropertyTests {
  @Test(arguments: 0..<200)
  func `random lives of a function keep every promise`(round: Int) {
    var model = Model(seed: 0xA9 &+ UInt64(round) &* 7919)
    for _ in 0..<400 { model.step() }
    model.settleAll()
    #expect(model.waiting.isEmpty && model.inside.isEmpty, "seed \(model.random.seed)")
  }

  @Test func `a long queue in which half leaves stays in order`() {
    var queue = WaitingQueue()
    var random = SeededGenerator(seed: 4)
    var expected: [RequestID] = []
    for id in RequestID(1)...5000 {
      queue.insert(Waiting(id: id, arrived: Int64(id), deadline: Int64(id) + 10_000, requeues: 0))
      expected.append(id)
      if Int.random(in: 0..<2, using: &random) == 0 {
        let victim = expected.remove(at: Int.random(in: 0..<expected.count, using: &random))
        let left = queue.remove(victim)
        #expect(left)
      }
    }
    #expect(queue.count == expected.count)
    let expired = queue.removeExpired(now: 11_000).map(\.id)
    #expect(expired == expected.filter { $0 <= 1000 })
    var order: [RequestID] = []
    while let next = queue.popFirst() { order.append(next.id) }
    #expect(order == expected.filter { $0 > 1000 })
  }
}
