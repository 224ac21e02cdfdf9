/// Every bound of the gateway that is not a function's own, by name. `gateway/README.md` explains them.
package enum GatewayLimits {
  /// Bytes of a request head at most; beyond it 431.
  package static let headBytes = 32 * 1024
  /// Header fields of a request at most; beyond it 431.
  package static let headerCount = 100
  /// Options in a request's `Connection` fields at most; beyond it 400.
  package static let connectionOptions = 32
  /// Bytes of a request target at most; beyond it 414.
  package static let targetBytes = 8 * 1024
  /// Bytes of a body held while its request waits for a pod, and replayable for an idempotent function.
  package static let heldBody = 64 * 1024
  /// Times a request that reached no pod may go back to the head of its queue.
  package static let requeues = 8
  /// Times the call of an idempotent function may be run again after a pod died under it.
  package static let replays = 1
  /// Milliseconds a function's pods may usually take to start for its requests to be sent to one that is still starting;
  /// such a call has as much time more.
  package static let earlyStartMilliseconds: Int64 = 250
  /// Milliseconds the record of a call that was sent so waits for the phases of its pod's start.
  package static let earlyRecordMilliseconds: Int64 = 50
  /// Idle upstream connections kept by one event loop to one pod; as many as it takes calls at once when that is more.
  package static let idleConnections = 16
  /// Seconds a connection may be idle between requests.
  package static let keepAliveSeconds: Int64 = 75
  /// Seconds from the first byte of a head to its last; beyond it 408.
  package static let headSeconds: Int64 = 10
  /// Seconds a client may pause inside a body; beyond it 408.
  package static let bodyIdleSeconds: Int64 = 30
  /// Seconds the body of an asynchronous call may take in all, as nothing else bounds it; beyond it 408.
  package static let asyncBodySeconds: Int64 = 60
  /// Milliseconds an answered connection is still read, so that the answer is not lost to a reset.
  package static let lingerMilliseconds: Int64 = 1000
  /// Seconds a client may leave the end of its last answer untaken.
  package static let answerStallSeconds: Int64 = 30
  /// Seconds the rest of a small body has whose request was answered before it was complete.
  package static let earlySeconds: Int64 = 10
  /// Bytes read of the requests behind the one that is answered; beyond it the client is not read.
  package static let pipelinedBytes = 64 * 1024
  /// Streams of an HTTP/2 connection open at once; one more is refused.
  package static let streamsMax = 100
  /// Bytes of a stream's body a client may send before they are taken, and bytes of its answer held for the client.
  package static let streamWindow = 65_535
  /// Bytes of all bodies of an HTTP/2 connection that may be on the way.
  package static let connectionWindow = 1024 * 1024
  /// Bytes of an answer's head, or of its trailers, on a stream; beyond it the stream is reset.
  package static let streamHeadBytes = 15 * 1024
  /// Streams a client may reset in `frameRateSeconds`; beyond it the connection is closed.
  package static let streamResets = 200
  /// Malformed requests, and other faults of one stream, on an HTTP/2 connection; beyond it the connection is closed.
  package static let streamFaults = 200
  /// Frames in a row that continue a header list; beyond it the connection is closed.
  package static let continuationFrames = 5
  /// Empty data frames in a row; beyond it the connection is closed.
  package static let emptyFrames = 8
  /// PING, SETTINGS and PRIORITY frames in `frameRateSeconds`; beyond it the connection is closed.
  package static let controlFrames = 2000
  /// Answers to such frames held while the client takes none; beyond it the connection is closed.
  package static let controlFramesHeld = 1000
  /// Seconds over which frames are counted.
  package static let frameRateSeconds: Int64 = 30
  /// Milliseconds a client has to notice that its HTTP/2 connection takes no further streams.
  package static let goAwayMilliseconds: Int64 = 1000
  /// Seconds without a byte in either direction after which a tunnel is closed.
  package static let tunnelIdleSeconds: Int64 = 600
  /// Milliseconds one end of a tunnel has to take what the other sent last.
  package static let tunnelFlushMilliseconds: Int64 = 10_000
  /// Functions that call one another, one inside the other.
  package static let callDepth = 16
  /// Milliseconds an upstream connect may take.
  package static let connectMilliseconds: Int64 = 2000
  /// Milliseconds a pod has to close a connection the gateway gave up; then it is quarantined.
  package static let abandonMilliseconds: Int64 = 1000
  /// Milliseconds the calls of a pod that is gone have to end by themselves.
  package static let goneMilliseconds: Int64 = 1000
  /// Milliseconds a pod that refused a connection is left alone the first time; doubles to `suspectMaximum`.
  package static let suspectMilliseconds: Int64 = 50
  /// Milliseconds a pod that refuses connections is left alone at most.
  package static let suspectMaximum: Int64 = 1000
  /// Milliseconds after which a wish that brought no pod is sent again while requests wait.
  package static let wantRefreshMilliseconds: Int64 = 1000
  /// Attempts to deliver one wish or one `podIdle`.
  package static let activationAttempts = 3
  /// Milliseconds before the second attempt; doubles.
  package static let activationBackoff: Int64 = 50
  /// Milliseconds before the route feed is asked for again the first time; doubles to `feedBackoffMaximum`.
  package static let feedBackoff: Int64 = 50
  /// Milliseconds between two subscriptions at most.
  package static let feedBackoffMaximum: Int64 = 2000
  /// Milliseconds a starting gateway waits for the routes before it listens without them.
  package static let firstSnapshotMilliseconds: Int64 = 1000
  /// Access records held while the log service does not take them; beyond it the oldest are dropped and counted.
  package static let logRecords = 50_000
  /// Access records in one append.
  package static let logBatch = 5000
  /// Bytes of access records in one append, a record more at most; the log service takes 32 MiB.
  package static let logBatchBytes = 4 << 20
  /// Bytes of access records held; beyond it further ones are dropped and counted.
  package static let logBytes = 64 << 20
  /// Milliseconds between two attempts to append at most.
  package static let logBackoffMaximum: Int64 = 2000
  /// Milliseconds records gather before an append, and the first pause after one that failed.
  package static let logInterval: Int64 = 100
  /// Functions with metrics of their own; the rest is counted as `other`.
  package static let meteredFunctions = 2000
}
