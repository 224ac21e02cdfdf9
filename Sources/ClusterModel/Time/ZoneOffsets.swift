import Foundation

/// How far a place's clocks are from UTC at each moment.
package protocol ZoneOffsets: Sendable {
  /// Seconds that local time is ahead of UTC at a moment (seconds since the epoch).
  func offset(at seconds: Int64) -> Int64
}

/// A zone as a list of changes; a fixed offset when there are none.
package struct ZoneTable: ZoneOffsets, Hashable {
  /// The offset before the first change, seconds.
  package let first: Int64
  /// From when (seconds since the epoch) which offset holds, ascending.
  package let changes: [Change]

  /// From a moment on another offset holds.
  package struct Change: Hashable, Sendable {
    /// Seconds since the epoch.
    package let at: Int64
    /// Seconds ahead of UTC from then on.
    package let offset: Int64

    /// A change at a moment.
    package init(at: Int64, offset: Int64) {
      self.at = at
      self.offset = offset
    }
  }

  /// A zone of these changes.
  package init(first: Int64, changes: [Change] = []) {
    self.first = first
    self.changes = changes
  }

  /// UTC.
  package static let utc = ZoneTable(first: 0)

  /// Seconds that local time is ahead of UTC at a moment.
  package func offset(at seconds: Int64) -> Int64 { changes.last { $0.at <= seconds }?.offset ?? first }
}

/// A zone of the IANA data base that Foundation carries, by its name (`Europe/Berlin`).
package struct NamedZone: ZoneOffsets {
  private let zone: TimeZone

  /// The zone of a name; nil when there is none of that name.
  package init?(_ name: String) {
    let fits = name.utf8.allSatisfy { byte in
      (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || "/_+-".utf8.contains(byte)
    }
    guard fits, (1...64).contains(name.utf8.count), let zone = TimeZone(identifier: name) else { return nil }
    self.zone = zone
  }

  /// Seconds that local time is ahead of UTC at a moment.
  package func offset(at seconds: Int64) -> Int64 {
    Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(seconds))))
  }

  /// The zone of a name; UTC costs nothing.
  package static func offsets(_ name: String) -> (any ZoneOffsets)? {
    name == "UTC" ? ZoneTable.utc : NamedZone(name)
  }
}
