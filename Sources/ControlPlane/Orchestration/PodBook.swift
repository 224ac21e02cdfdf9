import ClusterModel

/// Every pod the control plane lists, and sums over them that are kept while pods change, so that placing the hundredth
/// pod of a burst looks at none of the others. Pure.
struct PodBook: Sendable {
  /// What the pods of one function add up to.
  struct FunctionSums: Hashable, Sendable {
    /// Pods that take requests.
    var ready = 0
    /// Pods that are ready or on their way, by revision.
    var counting: [String: Int] = [:]
    /// Pods that hold resources, by node.
    var byNode: [String: Int] = [:]
    /// Pods that some gateway has no use for.
    var unused = 0

    /// Pods of every revision that are ready or on their way.
    var wanted: Int { counting.values.reduce(0, +) }
  }

  /// What one pod adds to the sums.
  fileprivate struct Part: Hashable {
    var revision: String
    var node: String?
    var isReady: Bool
    var counts: Bool
    var isUnused: Bool
    var use: NodeUse

    init(_ pod: PodRecord) {
      revision = pod.revision
      node = pod.holdsResources ? pod.node : nil
      isReady = pod.detail.life == .ready
      counts = pod.counts
      isUnused = !pod.unused.isEmpty
      use = NodeUse(
        milliCPU: pod.template.resources.cpu.milli, memory: pod.template.resources.memory.value, pods: 1,
        startsInFlight: pod.detail.life == .placed || pod.detail.life == .starting ? 1 : 0)
    }
  }

  private var records: [String: PodRecord] = [:]
  private var uids: [String: Set<String>] = [:]
  private var functions: [String: FunctionSums] = [:]
  private var nodes: [String: NodeUse] = [:]

  /// A pod by its uid.
  subscript(uid: String) -> PodRecord? {
    get { records[uid] }
    set {
      let old = records[uid]
      records[uid] = newValue
      let (before, after) = (old.map(Part.init), newValue.map(Part.init))
      if let key = old?.functionKey, newValue == nil {
        uids[key]?.remove(uid)
        if uids[key]?.isEmpty == true { uids[key] = nil }
      } else if old == nil, let key = newValue?.functionKey {
        uids[key, default: []].insert(uid)
      }
      guard before != after, let key = (newValue ?? old)?.functionKey else { return }
      if let before { add(before, -1, to: key) }
      if let after { add(after, 1, to: key) }
      if uids[key] == nil { functions[key] = nil }
    }
  }

  /// Every pod, in no order.
  var values: Dictionary<String, PodRecord>.Values { records.values }

  /// The uids of a function's pods, in no order.
  func uids(of function: String) -> Set<String> { uids[function] ?? [] }

  /// The pods of a function, in no order.
  func pods(of function: String) -> [PodRecord] { uids(of: function).compactMap { records[$0] } }

  /// The sums of a function (`namespace/name`).
  func sums(of function: String) -> FunctionSums { functions[function] ?? FunctionSums() }

  /// What the pods of a node hold of it.
  func use(of node: String) -> NodeUse { nodes[node] ?? NodeUse() }

  /// Pods that are on their way to being ready, on all nodes.
  var startsInFlight: Int { nodes.values.reduce(0) { $0 + $1.startsInFlight } }

  private mutating func add(_ part: Part, _ sign: Int, to function: String) {
    functions[function, default: FunctionSums()].add(part, sign)
    guard let node = part.node else { return }
    nodes[node, default: NodeUse()].add(part.use, sign)
    if nodes[node]?.pods == 0 { nodes[node] = nil }
  }
}

extension PodBook.FunctionSums {
  fileprivate mutating func add(_ part: PodBook.Part, _ sign: Int) {
    if part.isReady { ready += sign }
    if part.isUnused { unused += sign }
    if part.counts { Self.add(sign, at: part.revision, in: &counting) }
    if let node = part.node { Self.add(sign, at: node, in: &byNode) }
  }

  private static func add(_ sign: Int, at key: String, in sums: inout [String: Int]) {
    let sum = sums[key, default: 0] + sign
    sums[key] = sum == 0 ? nil : sum
  }
}

/// What the pods of a node hold of it.
struct NodeUse: Hashable, Sendable {
  var milliCPU: Int64 = 0
  var memory: Int64 = 0
  var pods = 0
  /// Pods that are on their way to being ready.
  var startsInFlight = 0

  fileprivate mutating func add(_ other: NodeUse, _ sign: Int) {
    milliCPU += other.milliCPU * Int64(sign)
    memory += other.memory * Int64(sign)
    pods += other.pods * sign
    startsInFlight += other.startsInFlight * sign
  }
}
