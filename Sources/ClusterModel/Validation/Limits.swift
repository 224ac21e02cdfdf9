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
  /// Slots for pods on one machine: host uids 362,800,000 + slot × 65536.
  package static let slots = 60_000
  /// Inodes in a pod's /tmp.
  package static let tmpInodes: Int64 = 8192
  /// Log lines a second and function.
  package static let logLinesPerSecond = 5000
  /// Bytes of log lines a second and function.
  package static let logBytesPerSecond = 16 << 20
  /// Longest sentence about a pod or event that a worker tells, bytes; of a longer one the middle is left out.
  package static let messageBytes = 8 << 10
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
  /// Largest body of an asynchronous call, bytes; more is 413.
  package static let asyncBody = 1 << 20
  /// Bytes of asynchronous calls' bodies that one gateway holds until they are durable; beyond it 429.
  package static let asyncIntakeBytes = 128 << 20
  /// Asynchronous calls of one function that may wait or run; one more is 429.
  package static let asyncQueueCalls = 10_000
  /// Bytes of the calls of one function that wait, run or are dead; beyond it 429.
  package static let asyncQueueBytes = 1 << 30
  /// Dead letters of one function; beyond it new calls are 429, so that none is dropped.
  package static let asyncDeadLetters = 10_000
  /// Times an asynchronous call is tried before it is a dead letter.
  package static let asyncAttempts = 5
  /// Longest wait before the second attempt, milliseconds; doubles with each attempt, and chance picks a part of it.
  package static let asyncBackoff: Int64 = 1000
  /// Longest wait between two attempts by ourselves, milliseconds.
  package static let asyncBackoffMaximum: Int64 = 60_000
  /// Longest `Retry-After` that is honoured, milliseconds.
  package static let asyncRetryAfterMaximum: Int64 = 600_000
  /// Wait before the gateway is tried again when it could not be reached, milliseconds; not counted as an attempt.
  package static let asyncUnreachedPause: Int64 = 1000
  /// Asynchronous calls that run at once, in all.
  package static let asyncRunning = 256
  /// Asynchronous calls of one function that run at once; fewer when its pods take fewer.
  package static let asyncRunningOfFunction = 64
  /// Time the gateway gets beyond a function's own times, milliseconds.
  package static let asyncPatience: Int64 = 15_000
  /// Bytes of an answer's body that are kept; the rest is cut off, and the result says so.
  package static let asyncResultBody = 1 << 20
  /// Results kept in all; the oldest goes first.
  package static let asyncResults = 50_000
  /// Bytes of results and their requests kept in all; the oldest goes first.
  package static let asyncResultBytes = 1 << 30
  /// How long a result is kept when the server is not told otherwise.
  package static let asyncResultTime = TimeSpan.seconds(3600)
  /// Longest callback URL, bytes.
  package static let callbackURL = 2048
  /// Time one callback may take, milliseconds.
  package static let callbackPatience: Int64 = 10_000
  /// Times a callback is sent until it is taken (2xx).
  package static let callbackAttempts = 3
  /// Callbacks under way at once.
  package static let callbacksRunning = 32
  /// Tokens for calls that may exist at once: each gateway holds all of them.
  package static let invokeTokens = 1000
  /// Longest life of a token for calls, milliseconds: ten years; without one it lives until it is revoked.
  package static let invokeTokenLife: Int64 = 3650 * 86_400_000
  /// Calls in one answer of the list, at most.
  package static let callsListed = 10_000
  /// Schedules of one function, at most.
  package static let schedulesOfFunction = 16
  /// Longest `startingDeadline`, seconds: 30 days.
  package static let startingDeadlineSeconds: Int64 = 30 * 86_400
  /// Missed runs that are counted for one stretch; what is beyond is said to be more.
  package static let missedRunsCounted = 100
  /// Scheduled runs that are queued at once; the others follow at once behind them.
  package static let scheduledAtOnce = 256
  /// Pause before a scheduled run that the queue did not take is tried again, milliseconds.
  package static let schedulePause: Int64 = 1000
  /// Functions with metrics of asynchronous calls of their own; those beyond are `other`.
  package static let asyncMeteredFunctions = 2000
}
