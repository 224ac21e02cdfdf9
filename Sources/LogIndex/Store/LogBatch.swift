/// One record of an answer.
package struct LogEntry: Sendable, Equatable {
  /// Where it stands in the order of answers; unique in its store.
  package var position: LogPosition
  /// The record exactly as it was sent, or cut down by `| fields`; one line without its break.
  package var bytes: [UInt8]
}

/// Some records of an answer, newest first.
package struct LogBatch: Sendable {
  /// The records.
  package var entries: [LogEntry]
  /// Records read for this batch, those that did not match among them.
  package var scanned: Int
  /// Why the answer ends here although there may be more, or lacks some of what it should have; only in its last batch.
  package var truncated: LogTruncation?
  /// Of a cut answer: every record that matches from this moment on is in it; nanoseconds since 1970.
  package var completeSince: Int64?
}

/// What a store holds and has seen.
package struct LogFigures: Sendable, Equatable {
  /// Records held.
  package var records: Int64 = 0
  /// Bytes of the records held, as they were sent.
  package var recordBytes: Int64 = 0
  /// Records ever refused because they were no records.
  package var rejected: Int64 = 0
  /// Sequence numbers ever skipped by their senders: lines a worker gave up.
  package var skipped: Int64 = 0
  /// Records dropped by live tails whose readers were too slow, since the store was opened.
  package var tailDropped: Int64 = 0
  /// Live tails now.
  package var tails: Int = 0
  /// Bytes of the store's files.
  package var diskBytes: Int64 = 0
  /// The time of the oldest record, nanoseconds since 1970; nil when there is none.
  package var oldest: Int64?
  /// The time of the newest record, nanoseconds since 1970; nil when there is none.
  package var newest: Int64?

  /// Figures of an empty store.
  package init() {}
}

/// How long and how much to keep.
package struct LogRetention: Sendable, Equatable {
  /// Records older than this go; nil keeps them.
  package var maxAge: Duration?
  /// The oldest records go while the files hold more bytes than this; nil for no limit.
  package var maxBytes: Int64?
  /// What holds for single namespaces and functions besides.
  package var rules: [LogRetentionRule] = []

  /// A policy; by default seven days and 5 GiB.
  package init(maxAge: Duration? = .seconds(7 * 86_400), maxBytes: Int64? = 5 << 30) {
    self.maxAge = maxAge
    self.maxBytes = maxBytes
  }
}

/// What one round of retention did.
package struct LogRetentionReport: Sendable, Equatable {
  /// Records deleted for their age.
  package var deletedByAge = 0
  /// Records deleted for their bytes.
  package var deletedByBytes = 0
  /// Records deleted by rules for single namespaces and functions.
  package var deletedByRules = 0
  /// Bytes the files shrank by.
  package var freedBytes: Int64 = 0
}
