import ClusterModel
import Planning
import Testing

@Suite("Placement")
struct PlacementTests {
  private let gibibyte: Int64 = 1 << 30

  private func node(_ name: String, memory: Int64 = 4 << 30) -> NodeOffer {
    NodeOffer(name: name, labels: ["zone": "a"], milliCPU: 2000, memory: memory, podLimit: 100)
  }

  @Test("a function that asks for a way out goes where there is one, and the others say what they cannot")
  func egress() {
    var closed = node("n1")
    closed.egress = [.none, .cluster]
    var nothing = node("n2")
    nothing.egress = []
    var demand = PodDemand(milliCPU: 100, memory: gibibyte)
    #expect(Placement.decide(demand, nodes: [nothing, closed]).refused.isEmpty, "none is everywhere")
    demand.egress = .cluster
    #expect(
      Placement.decide(demand, nodes: [nothing, closed, node("n3")]).scores.map(\.node).sorted() == ["n1", "n3"])
    demand.egress = .internet
    let plan = Placement.decide(demand, nodes: [nothing, closed])
    #expect(plan.choice == nil)
    #expect(
      plan.explanation
        == "no node can take the pod: n1 cannot give pods egress: internet; apus describe node says what it lacks; "
        + "n2 cannot give pods egress: internet; apus describe node says what it lacks")
    #expect(Placement.decide(demand, nodes: [closed, node("n3")]).choice == "n3")
  }

  /// The golden plan: six unequal nodes, each but the last excluded by another rule.
  @Test("six nodes, five rules: the plan names a reason for every node refused")
  func goldenPlan() {
    var lost = node("n1")
    lost.joined = false
    var cordoned = node("n2")
    cordoned.cordoned = true
    var elsewhere = node("n3")
    elsewhere.labels = ["zone": "b"]
    var busy = node("n4")
    busy.usedMilliCPU = 2000 * Placement.cpuOvercommit - 500
    var full = node("n5")
    full.usedMemory = full.memory - gibibyte / 2
    var crowded = node("n6")
    crowded.pods = 100
    let demand = PodDemand(milliCPU: 1000, memory: gibibyte, nodeSelector: ["zone": "a"])
    let plan = Placement.decide(demand, nodes: [crowded, full, busy, elsewhere, cordoned, lost, node("n7")])
    let lines = plan.refused.map { "\($0.node): \($0.reason)" }
    #expect(
      lines == [
        "n1: is not joined",
        "n2: is cordoned",
        "n3: label zone is \"b\", wanted \"a\"",
        "n4: cpu: needs 1, 500m free",
        "n5: memory: needs 1Gi, 512Mi free",
        "n6: has its 100 pods",
      ])
    #expect(plan.choice == "n7")
  }

  @Test("a node that has the code wins, until the function's own pods crowd it")
  func codeAndSpread() {
    var warm = node("warm")
    warm.hasCode = true
    let demand = PodDemand(milliCPU: 100, memory: 128 << 20)
    #expect(Placement.decide(demand, nodes: [node("a"), warm]).choice == "warm")
    warm.podsOfFunction = 3
    #expect(Placement.decide(demand, nodes: [node("a"), warm]).choice == "a")
  }

  @Test("without nodes the plan says how to get one")
  func nobody() {
    let plan = Placement.decide(PodDemand(milliCPU: 1, memory: 1), nodes: [])
    #expect(plan.choice == nil)
    #expect(plan.explanation == "no node has joined; start one with apus worker")
  }

  @Test("a plan never breaks a node's limits, whatever the order of demands", arguments: [1, 2, 3, 4, 5] as [UInt64])
  func limitsHold(seed: UInt64) {
    var generator = SplitMix(state: seed)
    var nodes = (0..<5).map { node("n\($0)", memory: Int64.random(in: 1...8, using: &generator) << 30) }
    for _ in 0..<500 {
      let demand = PodDemand(
        milliCPU: Int64.random(in: 10...4000, using: &generator),
        memory: Int64.random(in: 1...2048, using: &generator) << 20)
      guard let choice = Placement.decide(demand, nodes: nodes).choice,
        let index = nodes.firstIndex(where: { $0.name == choice })
      else {
        #expect(nodes.allSatisfy { Placement.refusal(of: $0, for: demand) != nil }, "seed \(seed)")
        continue
      }
      nodes[index].usedMemory += demand.memory
      nodes[index].usedMilliCPU += demand.milliCPU
      nodes[index].pods += 1
      #expect(nodes[index].usedMemory <= nodes[index].memory, "seed \(seed)")
      #expect(nodes[index].usedMilliCPU <= nodes[index].milliCPU * Placement.cpuOvercommit, "seed \(seed)")
    }
  }
}

/// A small seeded generator, so that a failing run can be repeated.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
