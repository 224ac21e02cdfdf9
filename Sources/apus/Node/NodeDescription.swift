import ClusterModel

/// Everything `apus describe node` shows, as a value.
struct NodeDescription {
  /// The node.
  let node: Node
  /// The pods on it.
  let pods: [Pod]
  /// What happened to it.
  let events: [Event]

  /// The text at a moment.
  func text(now: Timestamp) -> String {
    let status = node.status
    var text = Description()
    text.add("Name", node.metadata.name)
    text.add("Labels", Description.pairs(node.metadata.labels))
    text.add("Created", Description.moment(node.metadata.creationTimestamp, now: now))
    text.add("Session", status?.apus?.session)
    text.add("New pods", node.spec.unschedulable == true ? "no, it is cordoned" : "yes")
    text.add("Heard", Description.moment(status?.apus?.heardAt, now: now))
    text.add("Addresses", status?.addresses?.map { "\($0.type) \($0.address)" }.joined(separator: ", "))
    if let info = status?.nodeInfo {
      text.add("System", "\(info.osImage), kernel \(info.kernelVersion), \(info.architecture)")
      text.add("Version", info.kubeletVersion)
    }
    text.add("Capacity", Description.pairs(status?.capacity))
    text.add("Allocatable", Description.pairs(status?.allocatable))
    if let detail = status?.apus {
      text.add(
        "Allocated",
        "cpu \(Quantity(milliCores: detail.allocatedMilliCPU ?? 0)), "
          + "memory \(Figures.bytes(detail.allocatedMemory ?? 0)), \(Figures.count(detail.pods ?? 0, "pod"))")
      let stems = detail.stems?.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
      text.add("Made ahead", stems?.joined(separator: ", "))
      text.add("Egress", detail.egress?.map(\.rawValue).joined(separator: ", "))
      text.add("Isolation", detail.isolation?.joined(separator: "\n"))
    }
    text.conditions(status?.conditions ?? [], now: now)
    text.section("Pods", PodDescription.table(of: pods, now: now))
    text.events(events, now: now)
    text.section("What to do next", steps)
    return text.text
  }

  private var steps: [String] {
    let name = node.metadata.name
    if node.spec.unschedulable == true {
      return pods.isEmpty
        ? ["apus uncordon \(name)              let it take pods again"]
        : [
          "apus drain \(name)                 move its pods away",
          "apus uncordon \(name)              let it take pods again",
        ]
    }
    if let session = node.status?.apus?.session, session != "joined" {
      return ["apus status                        whether its worker runs", "apus logs 'node:\(name) stream:platform'"]
    }
    return []
  }
}
