package import LogIndex

/// The limits of a log service.
package struct LogServiceOptions: Sendable {
  /// The store's limits.
  package var index = LogIndexOptions()
  /// What one query may read.
  package var bounds = LogQueryBounds()
  /// Bytes of one answer's records, at most; what comes behind them is cut off.
  package var answerBytesMaximum = 256 << 20
  /// Queries at once; one more is answered 429.
  package var queriesMaximum = 32
  /// How long and how much to keep.
  package var retention = LogRetention()
  /// The time between two rounds of retention; the first round starts at once.
  package var retentionInterval: Duration = .seconds(60)

  /// The defaults.
  package init() {}
}
