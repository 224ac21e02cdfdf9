internal import Foundation

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
  /// Records of a block; 1…2^20.
  package var blockRows = 65_536
  /// Bytes of records in memory before they become a block, if they are not enough for one before.
  package var blockBytes = 40 << 20
  /// The time after which records in memory become a block however few they are.
  package var sealAge: Duration = .seconds(3600)
  /// The time after which at least `sealIdleRows` records in memory become a block.
  package var sealSoon: Duration = .seconds(60)
  /// Records in memory become a block, if they are at least `sealIdleRows`, when none came for this long.
  package var sealIdle: Duration = .seconds(5)
  /// The fewest records that are worth a block of their own when nothing more comes.
  package var sealIdleRows = 4_096
  /// How long the file of a block that is in another now stays, for queries that began before; longer than a query takes.
  package var mergedFileTime: Duration = .seconds(60)
  /// Memtables that may wait to become blocks before appends wait, and then are refused.
  package var sealsMaximum = 2
  /// Bytes of blocks kept open for queries: their files and what of them is decoded. By default a 64th of the machine's
  /// memory, from 64 to 512 MiB.
  package var cacheBytes = Self.cacheBytes(memory: ProcessInfo.processInfo.physicalMemory)
  /// Bytes of blocks' filters kept in memory, so that most blocks need not be read to know that they hold nothing.
  package var filterBytes = 16 << 20
  /// Bytes of blocks' counts kept in memory.
  package var rollupBytes = 8 << 20
  /// zlib's level for what is compressed, 1…9.
  package var compression: Int32 = 4
  /// Told about what was found and set aside when opening, one sentence each.
  package var notice: @Sendable (String) -> Void = { _ in }

  /// The defaults.
  package init() {}

  static func cacheBytes(memory: UInt64) -> Int { Int(min(max(memory / 64, 64 << 20), 512 << 20)) }
}

/// The bounds of one query.
package struct LogQueryBounds: Sendable {
  /// Records read at most.
  package var recordsMaximum: Int
  /// Bytes of records read at most, as they were sent.
  package var bytesMaximum: Int64
  /// Time spent at most.
  package var timeMaximum: Duration
  /// Bytes of records that an answer in an order of its own holds, at most; one page of records more.
  package var answerBytesMaximum: Int

  /// Bounds; by default ten million records, 8 GiB of them, thirty seconds, and 256 MiB in an order.
  package init(
    recordsMaximum: Int = 10_000_000, bytesMaximum: Int64 = 8 << 30, timeMaximum: Duration = .seconds(30),
    answerBytesMaximum: Int = 256 << 20
  ) {
    self.recordsMaximum = recordsMaximum
    self.bytesMaximum = bytesMaximum
    self.timeMaximum = timeMaximum
    self.answerBytesMaximum = answerBytesMaximum
  }
}
