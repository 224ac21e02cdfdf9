/// The limits of a log store.
package struct LogIndexOptions: Sendable {
  /// Appends are refused while the volume has fewer bytes free than this.
  package var minimumFreeBytes: Int64 = 128 << 20
  /// Appends that may wait to be written, bytes.
  package var pendingBytesMaximum = 64 << 20
  /// Appends that may wait to be written.
  package var pendingAppendsMaximum = 1_024
  /// Records that go into one transaction.
  package var commitRecordsMaximum = 8_192
  /// Records a live tail holds for its reader before it drops and counts.
  package var tailRecordsMaximum = 4_096
  /// Bytes a live tail holds for its reader before it drops and counts.
  package var tailBytesMaximum = 8 << 20
  /// Live tails at once.
  package var tailsMaximum = 256
  /// Pages of 4 KiB the write-ahead log grows to before it is folded into the database; 0 leaves that to closing.
  package var checkpointPages = 1_000
  /// A database up to this size, or one that failed before, is checked completely when it is opened; bytes.
  package var checkBytesMaximum: Int64 = 64 << 20
  /// Told about what was found and set aside when opening, one sentence each.
  package var notice: @Sendable (String) -> Void = { _ in }

  /// The defaults.
  package init() {}
}

/// The bounds of one query.
package struct LogQueryBounds: Sendable {
  /// Records read at most.
  package var recordsMaximum: Int
  /// Time spent at most.
  package var timeMaximum: Duration

  /// Bounds; by default ten million records and thirty seconds.
  package init(recordsMaximum: Int = 10_000_000, timeMaximum: Duration = .seconds(30)) {
    self.recordsMaximum = recordsMaximum
    self.timeMaximum = timeMaximum
  }
}
