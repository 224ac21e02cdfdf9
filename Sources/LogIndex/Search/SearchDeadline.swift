/// When a search must end.
struct SearchDeadline: Sendable {
  let end: ContinuousClock.Instant?

  /// Searches that may take as long as they like.
  static let none = SearchDeadline(end: nil)

  /// Whether it has passed.
  var isOver: Bool { end.map { ContinuousClock.now >= $0 } ?? false }

  /// Throws `BlockFault.outOfTime` when it has passed.
  func check() throws(BlockFault) {
    if isOver { throw .outOfTime }
  }
}

/// Where a search ended before it had looked at everything: all of what is newer than `time` was looked at.
struct SearchCut: Sendable, Equatable {
  var reason: LogTruncation
  /// Nanoseconds since 1970.
  var time: Int64

  /// The same with the bound there was on how many records a part's search looks at.
  func because(of bound: LogTruncation) -> SearchCut {
    reason == .records ? SearchCut(reason: bound, time: time) : self
  }

  /// Both cuts together: less is complete.
  func united(_ other: SearchCut?) -> SearchCut {
    guard let other else { return self }
    return SearchCut(reason: reason, time: max(time, other.time))
  }
}

/// What an answer lacks.
struct SearchGap: Sendable, Equatable {
  /// Where the search ended early.
  var cut: SearchCut?
  /// The newest time of the blocks that could not be read, nanoseconds since 1970.
  var unreadable: Int64?

  /// Why the answer is not complete, if it is not. A block behind the cut is missing with all else that is there.
  var reason: LogTruncation? {
    guard let unreadable, unreadable > cut?.time ?? .min else { return cut?.reason }
    return .unreadable
  }

  /// From when on it is complete, where that can be said; nanoseconds since 1970.
  var completeSince: Int64? { reason == .unreadable ? nil : cut.map { $0.time &+ 1 } }

  /// Notes that a block could not be read; nil for none.
  mutating func miss(_ newest: Int64?) {
    if let newest { unreadable = max(newest, unreadable ?? .min) }
  }
}
