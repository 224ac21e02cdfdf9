package import ClusterModel

/// A node as placement sees it.
package struct NodeOffer: Hashable, Sendable {
  /// The node's name.
  package var name: String
  /// Its labels.
  package var labels: [String: String]
  /// Whether its session is joined.
  package var joined: Bool
  /// Whether it was cordoned.
  package var cordoned: Bool
  /// CPU for pods, thousandths of a core, before overcommit.
  package var milliCPU: Int64
  /// Memory for pods, bytes.
  package var memory: Int64
  /// Pods at most.
  package var podLimit: Int
  /// CPU its pods were given.
  package var usedMilliCPU: Int64 = 0
  /// Memory its pods were given.
  package var usedMemory: Int64 = 0
  /// Pods it has.
  package var pods = 0
  /// Pods of the function in question.
  package var podsOfFunction = 0
  /// Pods that are starting.
  package var startsInFlight = 0
  /// What its pods may be given to reach.
  package var egress: [Egress] = Egress.allCases
  /// Whether the function's code is already there.
  package var hasCode = false

  /// An empty node.
  package init(
    name: String, labels: [String: String] = [:], joined: Bool = true, cordoned: Bool = false, milliCPU: Int64,
    memory: Int64, podLimit: Int
  ) {
    self.name = name
    self.labels = labels
    self.joined = joined
    self.cordoned = cordoned
    self.milliCPU = milliCPU
    self.memory = memory
    self.podLimit = podLimit
  }
}

/// What a pod needs of a node.
package struct PodDemand: Hashable, Sendable {
  /// CPU, thousandths of a core.
  package var milliCPU: Int64
  /// Memory, bytes.
  package var memory: Int64
  /// Labels the node must carry.
  package var nodeSelector: [String: String]
  /// What it may reach.
  package var egress = Egress.none

  /// A demand.
  package init(milliCPU: Int64, memory: Int64, nodeSelector: [String: String] = [:]) {
    self.milliCPU = milliCPU
    self.memory = memory
    self.nodeSelector = nodeSelector
  }

  /// What one pod of a spec needs.
  package init(_ spec: FunctionSpec) {
    self.init(
      milliCPU: spec.resources.cpu.milli, memory: spec.resources.memory.value, nodeSelector: spec.nodeSelector ?? [:])
    egress = spec.egress ?? .none
  }
}

/// Why a node cannot take a pod.
package enum Refusal: Hashable, Sendable, CustomStringConvertible {
  /// Its session is not joined.
  case notJoined
  /// It was cordoned.
  case cordoned
  /// It lacks a label.
  case label(key: String, wanted: String, found: String?)
  /// It cannot give pods what the function asks for.
  case egress(Egress)
  /// Too little CPU, even overcommitted.
  case cpu(needed: Int64, free: Int64)
  /// Too little memory.
  case memory(needed: Int64, free: Int64)
  /// It has its most pods.
  case pods(limit: Int)

  /// The reason in words.
  package var description: String {
    switch self {
    case .notJoined: "is not joined"
    case .cordoned: "is cordoned"
    case .label(let key, let wanted, let found):
      "label \(key) is \(found.map { "\"\($0)\"" } ?? "missing"), wanted \"\(wanted)\""
    case .egress(let wanted):
      "cannot give pods egress: \(wanted.rawValue); apus describe node says what it lacks"
    case .cpu(let needed, let free):
      "cpu: needs \(Quantity(milliCores: needed)), \(Quantity(milliCores: max(0, free))) free"
    case .memory(let needed, let free):
      "memory: needs \(Quantity(bytes: needed)), \(Quantity(bytes: max(0, free))) free"
    case .pods(let limit): "has its \(limit) pods"
    }
  }
}

/// Where a pod goes and why: the choice, every score, and a reason for every node refused.
package struct PlacementPlan: Hashable, Sendable {
  /// The node chosen; nil when none can take the pod.
  package var choice: String?
  /// Score of every node that could, best first.
  package var scores: [Score]
  /// Reasons of every node that could not, by name.
  package var refused: [Refused]

  /// A node's score.
  package struct Score: Hashable, Sendable {
    /// The node.
    package var node: String
    /// The score; higher is better.
    package var value: Double
  }

  /// A refused node.
  package struct Refused: Hashable, Sendable {
    /// The node.
    package var node: String
    /// Why.
    package var reason: Refusal
  }

  /// The plan in one line, for a condition's message.
  package var explanation: String {
    if let choice { return "placed on \(choice)" }
    if refused.isEmpty { return "no node has joined; start one with apus worker" }
    return "no node can take the pod: " + refused.map { "\($0.node) \($0.reason)" }.joined(separator: "; ")
  }
}

/// The scheduler: filter, score, decide, as pure functions.
///
/// Score after docs/scaling.md, item 5: code at hand, spread of the function, starts in flight, best fit.
package enum Placement {
  /// How many times its CPU a node may give away: pods are mostly idle, and the cgroup bounds each.
  package static let cpuOvercommit: Int64 = 16

  /// Why a node cannot take a pod, or nil when it can; the first reason in the order of the checks.
  package static func refusal(of node: NodeOffer, for demand: PodDemand) -> Refusal? {
    if !node.joined { return .notJoined }
    if node.cordoned { return .cordoned }
    for (key, wanted) in demand.nodeSelector.sorted(by: { $0.key < $1.key }) where node.labels[key] != wanted {
      return .label(key: key, wanted: wanted, found: node.labels[key])
    }
    if demand.egress != .none, !node.egress.contains(demand.egress) { return .egress(demand.egress) }
    let freeCPU = node.milliCPU * cpuOvercommit - node.usedMilliCPU
    if demand.milliCPU > freeCPU { return .cpu(needed: demand.milliCPU, free: freeCPU) }
    let freeMemory = node.memory - node.usedMemory
    if demand.memory > freeMemory { return .memory(needed: demand.memory, free: freeMemory) }
    if node.pods >= node.podLimit { return .pods(limit: node.podLimit) }
    return nil
  }

  /// How well a pod fits a node that can take it.
  package static func score(of node: NodeOffer, for demand: PodDemand) -> Double {
    let fit = Double(node.usedMemory + demand.memory) / Double(max(1, node.memory))
    return (node.hasCode ? 4 : 0) - 1.5 * Double(node.podsOfFunction) - 2 * Double(node.startsInFlight) + fit
  }

  /// Chooses a node; equal scores go to the lowest name, so that the same input gives the same plan.
  package static func decide(_ demand: PodDemand, nodes: [NodeOffer]) -> PlacementPlan {
    var plan = PlacementPlan(choice: nil, scores: [], refused: [])
    for node in nodes.sorted(by: { $0.name < $1.name }) {
      if let reason = refusal(of: node, for: demand) {
        plan.refused.append(.init(node: node.name, reason: reason))
      } else {
        plan.scores.append(.init(node: node.name, value: score(of: node, for: demand)))
      }
    }
    plan.scores.sort { ($1.value, $0.node) < ($0.value, $1.node) }
    plan.choice = plan.scores.first?.node
    return plan
  }
}
