import FoundationEssentials
import Glibc

/// A moment in time with nanoseconds, written as RFC 3339 in UTC.
package struct Timestamp: Hashable, Sendable, Comparable, CustomStringConvertible {
  /// Nanoseconds since 1970-01-01T00:00:00Z.
  package let nanoseconds: Int64

  /// In July 2261; as far before the epoch is in 1678. Nanoseconds.
  private static let farthest: Int64 = 9_200_000_000_000_000_000

  /// A moment from nanoseconds since the epoch.
  package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  /// A moment from milliseconds since the epoch.
  package init(milliseconds: Int64) { nanoseconds = milliseconds * 1_000_000 }

  /// The wall clock's reading. Decisions take a `Timestamp` as a parameter; only their callers ask the clock.
  package static func now() -> Timestamp {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Timestamp(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
  }

  /// Milliseconds since the epoch.
  package var milliseconds: Int64 { nanoseconds / 1_000_000 }

  /// This moment cut to whole seconds, as Kubernetes writes `creationTimestamp`.
  package var wholeSeconds: Timestamp { Timestamp(nanoseconds: nanoseconds - nanoseconds % 1_000_000_000) }

  /// Milliseconds from an earlier moment to this one.
  package func milliseconds(since earlier: Timestamp) -> Int64 { (nanoseconds - earlier.nanoseconds) / 1_000_000 }

  /// This moment moved by milliseconds, at most to where its text still is a time.
  package func advanced(milliseconds: Int64) -> Timestamp {
    let (distance, isFar) = milliseconds.multipliedReportingOverflow(by: 1_000_000)
    let (moved, isOut) = nanoseconds.addingReportingOverflow(distance)
    if isFar || isOut { return Timestamp(nanoseconds: milliseconds < 0 ? -Self.farthest : Self.farthest) }
    return Timestamp(nanoseconds: moved)
  }

  /// Orders by time.
  package static func < (left: Timestamp, right: Timestamp) -> Bool { left.nanoseconds < right.nanoseconds }

  /// RFC 3339 in UTC, with as many fraction digits (0, 3, 6 or 9) as the value needs.
  package var description: String {
    let fraction = Int(((nanoseconds % 1_000_000_000) + 1_000_000_000) % 1_000_000_000)
    if fraction == 0 { return text(digits: 0) }
    if fraction % 1_000_000 == 0 { return text(digits: 3) }
    return text(digits: fraction % 1000 == 0 ? 6 : 9)
  }

  /// RFC 3339 in UTC with exactly `digits` fraction digits (0…9), ending in `Z`.
  package func text(digits: Int) -> String {
    let rest = nanoseconds % 1_000_000_000
    let fraction = rest < 0 ? rest + 1_000_000_000 : rest
    let seconds = nanoseconds / 1_000_000_000 - (rest < 0 ? 1 : 0)
    let days = seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
    let time = seconds - days * 86_400
    let (year, month, day) = Self.civil(fromDays: days)
    var text = ""
    text.reserveCapacity(30)
    Self.pad(year, 4, into: &text)
    text += "-"
    Self.pad(month, 2, into: &text)
    text += "-"
    Self.pad(day, 2, into: &text)
    text += "T"
    Self.pad(time / 3600, 2, into: &text)
    text += ":"
    Self.pad(time / 60 % 60, 2, into: &text)
    text += ":"
    Self.pad(time % 60, 2, into: &text)
    if digits > 0 {
      text += "."
      let nine = String(fraction)
      text += String((String(repeating: "0", count: 9 - nine.count) + nine).prefix(digits))
    }
    return text + "Z"
  }

  /// Parses RFC 3339 with `Z` or a numeric offset, years 1678 to 2261 (what 64 bits of nanoseconds hold); nil otherwise.
  /// Fraction digits after the ninth are cut.
  package init?(_ text: String) {
    let bytes = Array(text.utf8)
    func number(_ start: Int, _ count: Int) -> Int64? {
      guard start + count <= bytes.count else { return nil }
      var value: Int64 = 0
      for byte in bytes[start..<start + count] {
        guard byte >= 48, byte <= 57 else { return nil }
        value = value * 10 + Int64(byte - 48)
      }
      return value
    }
    guard bytes.count >= 20, let year = number(0, 4), bytes[4] == 45, let month = number(5, 2), bytes[7] == 45,
      let day = number(8, 2), bytes[10] == 84 || bytes[10] == 116 || bytes[10] == 32, let hour = number(11, 2),
      bytes[13] == 58, let minute = number(14, 2), bytes[16] == 58, let second = number(17, 2),
      (1678...2261).contains(year), (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60,
      second < 61
    else { return nil }
    var index = 19
    var fraction: Int64 = 0
    if bytes[index] == 46 {
      var scale: Int64 = 100_000_000
      index += 1
      guard index < bytes.count, let _ = number(index, 1) else { return nil }
      while index < bytes.count, let digit = number(index, 1) {
        fraction += digit * scale
        scale /= 10
        index += 1
      }
    }
    guard index < bytes.count else { return nil }
    var offset: Int64 = 0
    switch bytes[index] {
    case 90, 122: guard index + 1 == bytes.count else { return nil }
    case 43, 45:
      guard index + 6 == bytes.count, let hours = number(index + 1, 2), bytes[index + 3] == 58,
        let minutes = number(index + 4, 2)
      else { return nil }
      offset = (hours * 3600 + minutes * 60) * (bytes[index] == 43 ? 1 : -1)
    default: return nil
    }
    let days = Self.days(year, month, day)
    nanoseconds = (days * 86_400 + hour * 3600 + minute * 60 + second - offset) * 1_000_000_000 + fraction
  }

  private static func pad(_ value: Int64, _ width: Int, into text: inout String) {
    let digits = String(value)
    if digits.count < width { text += String(repeating: "0", count: width - digits.count) }
    text += digits
  }

  // Days from civil and back: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
  static func civil(fromDays days: Int64) -> (Int64, Int64, Int64) {
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    return (year, month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
  }

  static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let shiftedYear = month <= 2 ? year - 1 : year
    let era = (shiftedYear >= 0 ? shiftedYear : shiftedYear - 399) / 400
    let yearOfEra = shiftedYear - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }
}

extension Timestamp: Codable {
  /// Decodes RFC 3339.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let value = Timestamp(text) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "\"\(text)\" is not an RFC 3339 time")
    }
    self = value
  }

  /// Encodes RFC 3339.
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
