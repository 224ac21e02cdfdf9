/// Every default and maximum of the platform, by name. `docs/configuration.md` lists them for people.
package enum Limits {
  /// Longest function name, so that `NAME-00001-abcde` stays a DNS label.
  package static let functionName = 50
  /// Longest time one call may be given.
  package static let timeoutMaximum = TimeSpan.seconds(900)
  /// Calls at once in one pod, at most.
  package static let concurrencyMaximum: Int64 = 1000
  /// Pods of one function, at most.
  package static let podsMaximum: Int64 = 1000
  /// Requests one function's queue may hold, at most.
  package static let queueMaximum: Int64 = 100_000
  /// Revisions kept of a function.
  package static let revisionsKept = 10
  /// Starts that may fail in a row before waiting requests are answered.
  package static let startAttempts = 3
  /// Largest packed artifact, bytes.
  package static let artifactPacked: Int64 = 256 << 20
  /// Largest unpacked artifact, bytes.
  package static let artifactUnpacked: Int64 = 1 << 30
  /// Most files in an artifact.
  package static let artifactFiles = 20_000
  /// How long an unreferenced artifact is kept, milliseconds.
  package static let artifactGrace: Int64 = 3_600_000
  /// Slots for pods on one node (host uids 200000 + slot × 65536).
  package static let slots = 60_000
  /// Inodes in a pod's /tmp.
  package static let tmpInodes: Int64 = 8192
  /// Log lines a second and function.
  package static let logLinesPerSecond = 5000
  /// Largest object in the API, bytes.
  package static let objectBytes = 1_048_576
  /// Time between a worker's heartbeats, milliseconds.
  package static let heartbeat: Int64 = 500
  /// Silence after which a node is suspect, milliseconds.
  package static let suspectAfter: Int64 = 2000
  /// Silence after which a node is lost, milliseconds.
  package static let lostAfter: Int64 = 3000
  /// Time a closed session has to come back, milliseconds.
  package static let reconnectWithin: Int64 = 200
  /// Lateness of the server's own timer beyond which no node is declared lost, milliseconds.
  package static let timerLateness: Int64 = 500
}
