/// The bounds of one embedded store.
package struct SQLiteOptions: Sendable {
  /// Recent events kept in memory for watchers; a watcher further behind reads the log.
  package var ringEvents = 8_192
  /// Bytes of recent events kept in memory: 32 MiB.
  package var ringBytes = 32 << 20
  /// Pages the write-ahead log may hold before a commit moves them into the file; 0 never does (tests).
  package var checkpointPages = 2_000
  /// Connections for reads.
  package var readersMax = 4
  /// A file up to this size in bytes is checked page by page when it is opened: 256 MiB.
  package var checkedBytesMax = 256 << 20
  /// Rows of the log one step of a compaction looks at.
  package var compactionRows = 512

  /// The defaults.
  package init() {}
}
