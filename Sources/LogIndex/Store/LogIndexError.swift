/// Why records were not taken.
package enum LogIndexError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The volume is nearly full, or the database said it is; send again when there is space.
  case storageFull(String)
  /// More is waiting to be written than the queue holds; send again shortly.
  case busy
  /// The store is closed.
  case closed
  /// The store could not write for another reason.
  case storage(String)

  /// One sentence.
  package var description: String {
    switch self {
    case .storageFull(let why): "the log store is full: \(why); free space on its volume, or lower its retention"
    case .busy: "the log store has too much waiting to be written; send again shortly"
    case .closed: "the log store is closed"
    case .storage(let why): "the log store cannot write: \(why)"
    }
  }
}

/// Why an answer is not complete.
package enum LogTruncation: String, Sendable, Equatable {
  /// The most records were read.
  case records
  /// The most bytes of records were read.
  case scan
  /// The most time was spent.
  case time
  /// The answer had the most bytes it may have.
  case bytes
  /// There were more groups than statistics keep, or longer ones.
  case groups
  /// A block could not be read; what it holds is missing.
  case unreadable
}
