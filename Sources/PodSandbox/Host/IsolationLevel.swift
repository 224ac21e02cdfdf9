/// How much of the isolation a worker insists on.
package enum IsolationLevel: String, Sendable, CaseIterable {
  /// What the host gives.
  case any
  /// Every guarantee there is; without one the worker does not run.
  case full
}

extension HostCapabilities {
  /// What keeps pods apart, by the subjects of the findings: the rest is what they run on.
  static let guarantees = ["kernel", "namespaces", "privileges", "cgroups", "seccomp", "images"]

  /// The guarantees this host does not give; empty when it gives all.
  package var absentGuarantees: [Finding] {
    findings.filter { Self.guarantees.contains($0.subject) && $0.level != .good }
  }

  /// Why a worker that insists on a level may not run here, and what to do; nil when it may. Pure.
  package func refusal(of level: IsolationLevel) -> (why: String, next: String)? {
    let absent = absentGuarantees
    guard level == .full, !absent.isEmpty else { return nil }
    return (
      "this host does not isolate pods fully: "
        + absent.map { "\($0.subject): \($0.line)" }.joined(separator: "; "),
      absent.map(\.advice).joined(separator: "; ")
    )
  }
}
