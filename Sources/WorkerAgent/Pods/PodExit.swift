/// How the first process of a pod ended.
package struct PodExit: Hashable, Sendable {
  /// The exit code, or nil when a signal ended it.
  package var code: Int32?
  /// The signal that ended it, or nil.
  package var signal: Int32?
  /// Whether the kernel killed something in the pod because its memory limit was reached.
  package var outOfMemory: Bool
  /// What ended it, where neither code nor signal tells; nil otherwise.
  package var cause: String?

  /// Why it never became what it was to be: its command did not start; nil otherwise.
  package var startFailure: String?

  /// An end by code or signal.
  package init(
    code: Int32? = nil, signal: Int32? = nil, outOfMemory: Bool = false, cause: String? = nil,
    startFailure: String? = nil
  ) {
    self.code = code
    self.signal = signal
    self.outOfMemory = outOfMemory
    self.cause = cause
    self.startFailure = startFailure
  }

  /// Shell convention: the code, or 128 + the signal.
  var status: Int {
    if let code { return Int(code) }
    if let signal { return 128 + Int(signal) }
    return 0
  }

  /// Whether this end is a failure when it was asked for.
  var failed: Bool { outOfMemory || (code ?? 0) != 0 }

  /// One word for status and events.
  var reason: String {
    if outOfMemory { return "OOMKilled" }
    return code == 0 ? "Exited" : "Crashed"
  }

  /// What happened, for people, without a full stop: `exited with code 1`.
  func sentence(memoryLimit: String) -> String {
    if let cause { return cause }
    if outOfMemory { return "memory limit \(memoryLimit) reached" }
    if let code { return "exited with code \(code)" }
    if let signal { return "killed by signal \(signal)\(Self.names[signal].map { " (\($0))" } ?? "")" }
    return "ended for an unknown reason"
  }

  private static let names: [Int32: String] = [
    1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
    9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM", 24: "SIGXCPU", 31: "SIGSYS",
  ]
}
