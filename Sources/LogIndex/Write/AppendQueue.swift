/// One append that waits for its transaction.
struct PendingAppend: Sendable {
  var worker: String
  var firstSequence: UInt64
  var lines: RecordLines
  var bytes: Int
  var done: @Sendable (Result<UInt64, LogIndexError>) -> Void

  var lastSequence: UInt64 { firstSequence &+ UInt64(lines.count) &- 1 }
}

/// Appends in order of arrival, bounded in number and bytes; says when a writer must be woken.
struct AppendQueue: Sendable {
  enum Admission: Equatable {
    /// Queued, and the writer must be given a turn.
    case wake
    /// Queued; the writer is at work and will come to it.
    case queued
    case busy, closed
  }

  let bytesMaximum: Int
  let appendsMaximum: Int
  private var pending: [PendingAppend] = []
  private var pendingBytes = 0
  private var isWriting = false
  private var isClosed = false

  init(bytesMaximum: Int, appendsMaximum: Int) {
    self.bytesMaximum = bytesMaximum
    self.appendsMaximum = appendsMaximum
  }

  mutating func admit(_ append: PendingAppend) -> Admission {
    guard !isClosed else { return .closed }
    // One append of any size is taken when nothing waits, so that a large one cannot be refused for ever.
    guard pending.count < appendsMaximum, pending.isEmpty || pendingBytes + append.bytes <= bytesMaximum else {
      return .busy
    }
    pending.append(append)
    pendingBytes += append.bytes
    if isWriting { return .queued }
    isWriting = true
    return .wake
  }

  /// The appends of the next transaction; none ends the writer's work until it is woken again.
  mutating func next(recordsMaximum: Int) -> [PendingAppend] {
    var records = 0
    var count = 0
    while count < pending.count, count == 0 || records + pending[count].lines.count <= recordsMaximum {
      records += pending[count].lines.count
      count += 1
    }
    let taken = Array(pending.prefix(count))
    pending.removeFirst(count)
    pendingBytes -= taken.reduce(0) { $0 + $1.bytes }
    if taken.isEmpty { isWriting = false }
    return taken
  }

  mutating func close() { isClosed = true }
}
