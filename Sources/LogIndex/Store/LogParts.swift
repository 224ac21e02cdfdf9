internal import Synchronization

/// What a store is made of at one moment, for its operators.
package struct LogParts: Sendable, Equatable {
  /// Blocks of columns.
  package var blocks = 0
  /// Bytes of their files.
  package var blockBytes: Int64 = 0
  /// Bytes of the write-ahead log.
  package var walBytes: Int64 = 0
  /// Records in memory, not yet in a block.
  package var memoryRecords = 0
  /// Blocks set aside since the store was opened.
  package var damaged = 0

  /// Nothing.
  package init() {}
}

extension LogStore {
  /// What the store is made of.
  package func parts() -> LogParts {
    let tables = view().memtables
    return state.withLock { state in
      var parts = LogParts()
      parts.blocks = state.blocks.count
      parts.blockBytes = state.blocks.reduce(0) { $0 + $1.fileBytes }
      parts.walBytes = state.walBytes
      parts.memoryRecords = tables.reduce(0) { $0 + $1.readable.rows }
      parts.damaged = state.damaged.count
      return parts
    }
  }
}
