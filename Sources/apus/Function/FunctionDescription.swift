import ClusterModel

/// Everything `apus describe function` shows, as a value.
struct FunctionDescription {
  /// The function.
  let function: Function
  /// Its revisions.
  let revisions: [Revision]
  /// Its pods.
  let pods: [Pod]
  /// What happened to it, its revisions and its pods.
  let events: [Event]
  /// Where it is called; nil when unknown.
  let url: String?

  /// The text at a moment.
  func text(now: Timestamp) -> String {
    var text = Description()
    header(&text, now)
    text.conditions(function.status?.conditions ?? [], now: now)
    text.section("Revisions", revisionTable(now))
    text.section("Pods", PodDescription.table(of: pods, now: now))
    if let schedules = function.spec.schedule, !schedules.isEmpty {
      text.section("Schedule", scheduleTable(schedules, now))
    }
    figures(&text, now)
    text.events(events, now: now)
    text.section("What to do next", FunctionAdvice.steps(for: function, pods: pods))
    return text.text
  }

  private func header(_ text: inout Description, _ now: Timestamp) {
    let spec = function.spec
    text.add("Name", function.metadata.name)
    text.add("Namespace", function.metadata.namespace ?? "default")
    text.add("Labels", Description.pairs(function.metadata.labels))
    text.add("Created", Description.moment(function.metadata.creationTimestamp, now: now))
    text.add("URL", url)
    text.add(
      "Runtime",
      [spec.runtime.rawValue, spec.handler ?? spec.command?.joined(separator: " ")]
        .compactMap { $0 }.joined(separator: "  "))
    text.add(
      "Source",
      spec.source.map { "\($0.digest)\($0.size.map { "  \(Figures.bytes($0))" } ?? "")" }
        ?? (spec.image == nil ? "none yet" : nil))
    text.add("Image", spec.image.map { String($0.prefix { $0 != "@" }) })
    text.add("Digest", spec.image == nil ? nil : spec.codeDigest)
    text.add("Root", spec.image.map { _ in spec.rootWritable == true ? "writable, until the pod ends" : "read-only" })
    text.add("Serving", function.status?.servingRevision ?? "nothing")
    let (ready, wanted) = (function.status?.readyPods ?? 0, function.status?.wantedPods ?? 0)
    text.add("Pods", "\(ready) ready, \(wanted) wanted")
    text.add("Scale", "\(spec.scale.min) to \(spec.scale.max) pods, an idle one is kept \(spec.scale.idleAfter)")
    text.add("Concurrency", "\(Figures.count(spec.concurrency, "call")) a pod at once")
    text.add("Timeout", "\(spec.timeout) a call, \(spec.probes.startup) to start, \(spec.grace) to drain")
    text.add(
      "Answer",
      [
        spec.timeouts?.responseStart.map { "begins within \($0)" },
        spec.timeouts?.responseIdle.map { "goes on within \($0)" },
      ].compactMap { $0 }.joined(separator: ", "))
    text.add("Queue", "\(Figures.count(spec.queue.limit, "request")), \(spec.queue.timeout) each")
    let resources = spec.resources
    text.add(
      "Resources",
      "memory \(resources.memory), cpu \(resources.cpu), \(resources.pids) processes, /tmp \(resources.tmp), "
        + "\(resources.files) files, body \(spec.maxBody)")
    let scope = function.metadata.namespace.map { $0 == "default" ? "" : " -n \($0)" } ?? ""
    text.add(
      "Auth",
      spec.auth == .token ? "token: apus token create --function \(function.metadata.name)\(scope)" : nil)
    text.add("Public", spec.public == true ? "yes: it answers beyond the gateway's own machine" : nil)
    text.add("Egress", spec.egress.map(Self.words))
    text.add("Idempotent", spec.idempotent ? "yes: a call may be run again" : nil)
    text.add("Env", Description.pairs(spec.env))
    text.add("Secrets", spec.secrets?.joined(separator: ", "))
    text.add("Nodes", Description.pairs(spec.nodeSelector))
  }

  private static func words(_ egress: Egress) -> String {
    switch egress {
    case .none: "none: its pods reach nothing"
    case .cluster: "cluster: its pods call functions of the namespace through $APUS_GATEWAY"
    case .internet: "internet: its pods reach other hosts, and functions of the namespace through $APUS_GATEWAY"
    }
  }

  private func revisionTable(_ now: Timestamp) -> TextTable {
    let serving = function.status?.servingRevision
    let rows = revisions.sorted { $0.spec.number > $1.spec.number }.map { revision -> [String] in
      let name = revision.metadata.name
      let state = revision.status?.proven == true ? "Ready" : Self.state(of: revision)
      let digest = revision.spec.template.codeDigest ?? "-"
      return [
        name, name == serving ? "100%" : "0%", state,
        revision.metadata.creationTimestamp.map { Figures.age(from: $0, to: now) } ?? "-", String(digest.prefix(19)),
      ]
    }
    return TextTable(columns: ["NAME", "TRAFFIC", "STATE", "AGE", "PACKAGE"].map { TextTable.Column($0) }, rows: rows)
  }

  private func scheduleTable(_ schedules: [ScheduleSpec], _ now: Timestamp) -> TextTable {
    let rows = schedules.map { schedule -> [String] in
      let status = function.status?.schedules?.first { $0.name == schedule.name }
      let next = schedule.suspend ? "suspended" : status?.nextScheduleTime?.text(digits: 0) ?? "-"
      let last = status?.lastScheduleTime.map { "\(Figures.age(from: $0, to: now)) ago" } ?? "-"
      return [
        schedule.name, schedule.cron, schedule.timeZone, next, last, "\(status?.runs ?? 0)", "\(status?.missed ?? 0)",
        "\(status?.skipped ?? 0)", status?.lastCall ?? "-",
      ]
    }
    return TextTable(
      columns: ["NAME", "CRON", "ZONE", "NEXT", "LAST", "RUNS", "MISSED", "SKIPPED", "LAST CALL"].map {
        TextTable.Column($0)
      }, rows: rows)
  }

  private static func state(of revision: Revision) -> String {
    guard let condition = revision.status?.conditions.last else { return "Pending" }
    return condition.status == "True" ? condition.type : condition.reason
  }

  private func figures(_ text: inout Description, _ now: Timestamp) {
    guard let figures = function.status?.figures else { return }
    func time(_ value: Double?) -> String { value.map(Figures.milliseconds) ?? "-" }
    text.section(
      "Figures",
      [
        "in flight \(figures.inFlight), queued \(figures.queued), calls \(figures.calls), errors \(figures.errors)",
        "p50 \(time(figures.p50Milliseconds)), p99 \(time(figures.p99Milliseconds)) over 5 minutes; "
          + "cold p99 \(time(figures.coldP99Milliseconds)) over the last 100 starts",
      ])
    text.section(
      "Last scaling decisions",
      figures.decisions.prefix(10).map {
        "\(Text.pad(Figures.age(from: $0.at, to: now) + " ago", 10)) \(Text.visible($0.text))"
      })
    text.section(
      "Last errors",
      figures.errorCalls.prefix(10).map { "call \(Text.visible($0))   apus logs --call \(Text.visible($0))" })
  }
}

/// What a person could do next about a function.
enum FunctionAdvice {
  /// At most three steps, the most urgent first.
  static func steps(for function: Function, pods: [Pod]) -> [String] {
    let name = function.metadata.name
    let conditions = function.status?.conditions ?? []
    func holds(_ type: String) -> Bool { conditions.contains { $0.type == type && $0.status == "True" } }
    var steps: [String] = []
    if function.spec.hasNoCode || holds("SourceMissing") {
      return ["apus deploy FOLDER                 it has no code yet"]
    }
    let restarting = pods.contains { $0.status.apus.restarts > 0 && $0.status.apus.life != .ready }
    let ready = conditions.first { $0.type == "Ready" }
    if holds("RevisionFailed") || ready?.reason == "RevisionFailed" || restarting {
      steps.append("apus logs \(name) --since 10m       what its pods wrote before they ended")
      steps.append("apus deploy FOLDER                 deploy a corrected version")
      if let serving = function.status?.servingRevision, serving != function.status?.latestRevision {
        steps.append("apus rollback \(name)               put the spec of \(serving), which serves, back in place")
      }
    }
    if pods.contains(where: { $0.status.apus.life == .wanted }) {
      steps.append("apus describe pod NAME             why no node takes it; apus get nodes shows what is free")
    }
    if let call = function.status?.figures?.errorCalls.first {
      steps.append("apus logs --call \(call)   everything the last failed call caused")
    }
    if steps.isEmpty {
      steps.append("apus invoke \(name) -d TEXT         call it; apus logs \(name) shows what it writes")
    }
    return Array(steps.prefix(3))
  }
}
