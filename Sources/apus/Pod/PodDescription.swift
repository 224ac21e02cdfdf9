import ClusterModel

/// Everything `apus describe pod` shows, as a value.
struct PodDescription {
  /// The pod.
  let pod: Pod
  /// What happened to it.
  let events: [Event]
  /// The first call that waited for its start, where one did.
  var firstCall: ColdCall?

  /// The text at a moment.
  func text(now: Timestamp) -> String {
    let detail = pod.status.apus
    var text = Description()
    text.add("Name", pod.metadata.name)
    text.add("Namespace", pod.metadata.namespace ?? "default")
    text.add("Function", detail.function)
    text.add("Revision", detail.revision)
    text.add("Node", pod.spec.nodeName ?? "none")
    text.add("UID", pod.metadata.uid)
    text.add("Created", Description.moment(pod.metadata.creationTimestamp, now: now))
    text.add("Status", Self.status(of: pod))
    text.add("Reason", detail.message)
    text.add("Exit code", detail.exitCode.map(String.init))
    text.add("Restarts", String(detail.restarts))
    text.add("Memory", detail.memory.map(Figures.bytes))
    if let resources = pod.spec.containers.first?.resources?.limits { text.add("Limits", Description.pairs(resources)) }
    text.add("Endpoint", detail.endpoint.map { [$0.socket, $0.worker].compactMap { $0 }.joined(separator: "  ") })
    text.add("Started in", Self.startup(detail.startup))
    text.add("First call", firstCall?.sentence)
    text.section(
      "Life",
      TextTable(
        columns: ["STEP", "AT", "REASON"].map { TextTable.Column($0) },
        rows: detail.history.map { [$0.life.rawValue, $0.at.text(digits: 3), $0.reason ?? ""] }))
    text.events(events, now: now)
    text.section("What to do next", Self.steps(for: pod))
    return text.text
  }

  /// The step of life in one word, with the cause when it is not well.
  static func status(of pod: Pod) -> String {
    let detail = pod.status.apus
    if detail.life == .gone { return detail.failed == true ? (detail.reason ?? "Failed") : "Completed" }
    if detail.life == .starting, detail.restarts > 0 { return detail.reason ?? "Restarting" }
    let word = detail.life.rawValue
    return word.prefix(1).uppercased() + word.dropFirst()
  }

  /// The phases of a start that have a time: `41ms (placed 1ms, prepared 12ms, …)`.
  static func startup(_ startup: StartupBreakdown?) -> String? {
    guard let startup else { return nil }
    let parts = startup.phases.compactMap { name, time in time.map { "\(name) \(Figures.milliseconds($0))" } }
    guard !parts.isEmpty else { return nil }
    return "\(Figures.milliseconds(startup.total)) (\(parts.joined(separator: ", ")))"
  }

  /// Pods as a table.
  static func table(of pods: [Pod], now: Timestamp) -> TextTable {
    TextTable(
      columns: ["NAME", "REVISION", "NODE", "STATUS", "AGE", "RESTARTS", "MEMORY", "STARTED IN"].map {
        TextTable.Column($0)
      },
      rows: pods.sorted { $0.metadata.name < $1.metadata.name }.map { pod in
        let detail = pod.status.apus
        return [
          pod.metadata.name, detail.revision, pod.spec.nodeName ?? "-", status(of: pod),
          pod.metadata.creationTimestamp.map { Figures.age(from: $0, to: now) } ?? "-", "\(detail.restarts)",
          detail.memory.map(Figures.bytes) ?? "-",
          detail.startup.flatMap { $0.total > 0 ? Figures.milliseconds($0.total) : nil } ?? "-",
        ]
      })
  }

  private static func steps(for pod: Pod) -> [String] {
    let detail = pod.status.apus
    switch detail.life {
    case .wanted: return ["apus get nodes -o wide             what each node has free"]
    case .ready, .draining:
      return ["apus logs \(detail.function) 'pod:\(pod.metadata.name)'   what it writes"]
    case .placed, .starting, .gone:
      return ["apus logs \(detail.function) 'pod:\(pod.metadata.name)'   what it wrote, newest last"]
    }
  }
}
