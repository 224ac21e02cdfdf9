/// Why the store refused or failed.
package enum StoreError: Error, Sendable, Equatable {
  /// A compare did not hold: the object's revision is `current`, nil when there is no such object.
  case conflict(key: String, current: Int64?)
  /// The revision asked for is forgotten; `oldest` is the oldest one that can still be listed or watched after.
  case compacted(oldest: Int64)
  /// The revision asked for does not exist yet.
  case futureRevision(asked: Int64, current: Int64)
  /// A commit carries more bytes than `limit`.
  case tooLarge(bytes: Int, limit: Int)
  /// A commit carries more compares or operations than `limit`.
  case tooManyOperations(count: Int, limit: Int)
  /// A commit writes the same key twice.
  case duplicateKey(String)
  /// A key or prefix is empty, too long or not printable ASCII.
  case invalidKey(String)
  /// More commits are waiting than the queue holds; try again.
  case overloaded(pending: Int)
  /// The disk is full: reads go on, writes work again when there is space.
  case full(path: String)
  /// The database file is damaged; it was left as it is.
  case corrupt(path: String, found: String)
  /// The file was written with another schema, or by another program.
  case wrongSchema(path: String, found: String, wanted: String)
  /// Another process has the store open.
  case inUse(path: String)
  /// The store was closed.
  case closed
  /// The calling task was cancelled; only reads and compactions answer this.
  case cancelled
  /// Anything else the database reported, with what was being done.
  case backend(String)
}

extension StoreError: CustomStringConvertible {
  /// What was wrong, where, and what to do.
  package var description: String {
    switch self {
    case .conflict(let key, let current?): "\(key) has changed: its revision is \(current); read it again and retry"
    case .conflict(let key, nil): "\(key) does not exist (any more); read it again and retry"
    case .compacted(let oldest):
      "the revision is compacted, the oldest kept is \(oldest); list again and watch from there"
    case .futureRevision(let asked, let current): "revision \(asked) does not exist yet, the newest is \(current)"
    case .tooLarge(let bytes, let limit): "a commit of \(bytes) bytes is more than the \(limit) allowed; split it"
    case .tooManyOperations(let count, let limit):
      "a commit of \(count) operations is more than the \(limit) allowed; split it"
    case .duplicateKey(let key): "a commit writes \(key) twice; keep one of the operations"
    case .invalidKey(let key):
      "'\(key)' is not a key: 1 to \(StoreLimits.keyBytesMax) printable ASCII characters without spaces are"
    case .overloaded(let pending): "\(pending) commits are waiting already; try again"
    case .full(let path): "no space left for the store at \(path); free some, writing goes on by itself"
    case .corrupt(let path, let found):
      "the store at \(path) is damaged (\(found)); nothing was changed. Stop apus, move the file with its -wal and "
        + "-shm aside and put a copy back, or rescue what is readable with: sqlite3 \(path) .recover"
    case .wrongSchema(let path, let found, let wanted):
      "the store at \(path) has \(found), this apus needs \(wanted); use the apus that wrote it "
        + "or another --data folder"
    case .inUse(let path):
      "the store at \(path) is in use by another process; stop that one first (apus status shows it)"
    case .closed: "the store is closed"
    case .cancelled: "the call was cancelled"
    case .backend(let text): "the store failed: \(text)"
    }
  }
}
