internal import LogIndex
internal import Synchronization

/// What the log service has done since it was opened.
final class LogCounters: Sendable {
  /// Ways in.
  enum Entrance: String, CaseIterable {
    case worker, gateway, elasticsearch, loki, otlp
  }

  /// Sums of one way in.
  struct Pushed: Equatable {
    var lines: Int64 = 0
    var bytes: Int64 = 0
    var refused: Int64 = 0
  }

  /// Lines that a function lost on a node, and why.
  struct Drop: Hashable {
    var namespace: String
    var function: String
    /// `rate`, or `spool`.
    var cause: String
  }

  /// Functions whose losses are told apart; those of others are one sum.
  static let dropsMaximum = 1000

  /// Sums of all of them.
  struct Sums: Equatable {
    var pushed: [Entrance: Pushed] = [:]
    var queries: Int64 = 0
    var queriesCut: Int64 = 0
    var queriesRefused: Int64 = 0
    var follows: Int64 = 0
    var dropped: [Drop: Int64] = [:]
    /// The number of the last record of losses by source, so that one that is sent again counts once.
    fileprivate var told: [String: UInt64] = [:]
  }

  private let state = Mutex(Sums())

  /// The sums now.
  var sums: Sums { state.withLock { $0 } }

  /// Notes lines that are durable.
  func took(_ lines: Int, bytes: Int, from entrance: Entrance) {
    state.withLock { sums in
      sums.pushed[entrance, default: Pushed()].lines += Int64(lines)
      sums.pushed[entrance, default: Pushed()].bytes += Int64(bytes)
    }
  }

  /// Notes lines that were not taken: their senders were told.
  func refused(_ lines: Int, from entrance: Entrance) {
    state.withLock { $0.pushed[entrance, default: Pushed()].refused += Int64(lines) }
  }

  /// Notes what the records of a batch tell of lines that were lost before they could be sent.
  func read(_ lines: RecordLines, firstSequence: UInt64, of source: String) {
    var next = 0
    while let index = lines.first(with: DropRecord.stream, from: next) {
      next = index + 1
      guard let drop = DropRecord(lines[index]) else { continue }
      let sequence = firstSequence + UInt64(index)
      state.withLock { sums in
        guard sequence > sums.told[source] ?? 0 else { return }
        if sums.told.count >= Self.dropsMaximum { sums.told.removeAll() }
        sums.told[source] = sequence
        let isKnown = sums.dropped[drop.about] != nil || sums.dropped.count < Self.dropsMaximum
        let key = isKnown ? drop.about : Drop(namespace: "", function: "", cause: drop.about.cause)
        sums.dropped[key, default: 0] += drop.count
      }
    }
  }

  /// Notes a query that was answered, whole or cut.
  func queried(cut: Bool) {
    state.withLock { sums in
      sums.queries += 1
      if cut { sums.queriesCut += 1 }
    }
  }

  /// Notes a query that found too many others.
  func queryRefused() { state.withLock { $0.queriesRefused += 1 } }

  /// Notes a live tail that was begun.
  func followed() { state.withLock { $0.follows += 1 } }
}
