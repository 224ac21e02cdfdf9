/// RFC 3339 to nanoseconds since 1970 and back, without Foundation.
package enum RecordTime {
  /// The times that records and queries can have, nanoseconds since 1970: some months less on either side than 64 bits
  /// hold.
  package static let range: ClosedRange<Int64> = -9_200_000_000_000_000_000...9_200_000_000_000_000_000

  /// The nanoseconds of an RFC 3339 time with up to nine fraction digits and `Z` or an offset; nil when it is none,
  /// or lies outside 1678…2261.
  package static func parse(_ text: some RandomAccessCollection<UInt8>) -> Int64? {
    var reader = DigitReader(text)
    guard let day = reader.date(), reader.take(0x54, or: 0x74),
      let hour = reader.number(2), hour < 24, reader.take(0x3A),
      let minute = reader.number(2), minute < 60, reader.take(0x3A),
      let second = reader.number(2), second <= 60
    else { return nil }
    var nanoseconds: Int64 = 0
    if reader.take(0x2E) {
      guard let fraction = reader.fraction() else { return nil }
      nanoseconds = fraction
    }
    guard let offset = reader.offset(), reader.isAtEnd else { return nil }
    let seconds = day * 86_400 + hour * 3600 + minute * 60 + second - offset
    return join(seconds, nanoseconds)
  }

  /// The first nanosecond of a day written `YYYY-MM-DD`, in UTC; nil when it is none.
  package static func parseDay(_ text: some RandomAccessCollection<UInt8>) -> Int64? {
    var reader = DigitReader(text)
    guard let day = reader.date(), reader.isAtEnd else { return nil }
    return join(day * 86_400, 0)
  }

  /// RFC 3339 in UTC with nine fraction digits.
  package static func text(_ nanoseconds: Int64) -> String {
    var text: [UInt8] = []
    append(nanoseconds, digits: 9, to: &text)
    return String(decoding: text, as: UTF8.self)
  }

  /// Appends the time in UTC with so many digits behind the second, 0…9; without digits no point.
  static func append(_ nanoseconds: Int64, digits: Int, to output: inout [UInt8]) {
    let billion: Int64 = 1_000_000_000
    let rest = nanoseconds % billion
    let fraction = rest < 0 ? rest + billion : rest
    let seconds = nanoseconds / billion - (rest < 0 ? 1 : 0)
    let clock = ((seconds % 86_400) + 86_400) % 86_400
    let (year, month, day) = civil((seconds - clock) / 86_400)
    put(year, 4, to: &output)
    output.append(0x2D)
    put(month, 2, to: &output)
    output.append(0x2D)
    put(day, 2, to: &output)
    output.append(0x54)
    put(clock / 3600, 2, to: &output)
    output.append(0x3A)
    put(clock / 60 % 60, 2, to: &output)
    output.append(0x3A)
    put(clock % 60, 2, to: &output)
    if digits > 0 {
      output.append(0x2E)
      put(fraction, 9, to: &output)
      output.removeLast(9 - digits)
    }
    output.append(0x5A)
  }

  private static func join(_ seconds: Int64, _ nanoseconds: Int64) -> Int64? {
    guard seconds > -9_200_000_000, seconds < 9_200_000_000 else { return nil }
    return seconds * 1_000_000_000 + nanoseconds
  }

  /// Appends the last digits of a number that is not negative.
  @inline(__always) private static func put(_ value: Int64, _ width: Int, to output: inout [UInt8]) {
    let start = output.count
    for _ in 0..<width { output.append(0x30) }
    var rest = value
    var place = start + width - 1
    while place >= start {
      output[place] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
      rest /= 10
      place -= 1
    }
  }

  /// The days from 1970-01-01 to a date of the proleptic Gregorian calendar (the era method: years start in March).
  static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let shifted = month <= 2 ? year - 1 : year
    let era = (shifted >= 0 ? shifted : shifted - 399) / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  private static func civil(_ days: Int64) -> (Int64, Int64, Int64) {
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let month = (5 * dayOfYear + 2) / 153
    let civilMonth = month < 10 ? month + 3 : month - 9
    return (yearOfEra + era * 400 + (civilMonth <= 2 ? 1 : 0), civilMonth, dayOfYear - (153 * month + 2) / 5 + 1)
  }
}

/// Reads fixed runs of digits off the front of a text.
private struct DigitReader<Bytes: RandomAccessCollection<UInt8>> {
  private var rest: Bytes.SubSequence

  init(_ bytes: Bytes) { rest = bytes[...] }

  var isAtEnd: Bool { rest.isEmpty }

  mutating func number(_ width: Int) -> Int64? {
    guard rest.count >= width else { return nil }
    var value: Int64 = 0
    for _ in 0..<width {
      guard let byte = rest.popFirst(), ASCII.isDigit(byte) else { return nil }
      value = value * 10 + Int64(byte - 0x30)
    }
    return value
  }

  mutating func take(_ byte: UInt8, or other: UInt8? = nil) -> Bool {
    guard let first = rest.first, first == byte || first == other else { return false }
    rest.removeFirst()
    return true
  }

  /// Days since 1970 of `YYYY-MM-DD`.
  mutating func date() -> Int64? {
    guard let year = number(4), take(0x2D), let month = number(2), month >= 1, month <= 12, take(0x2D),
      let day = number(2), day >= 1
    else { return nil }
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
    let longest: Int64 = month == 2 ? (leap ? 29 : 28) : ([4, 6, 9, 11].contains(month) ? 30 : 31)
    return day <= longest ? RecordTime.days(year, month, day) : nil
  }

  /// One to nine digits as nanoseconds; further digits are cut.
  mutating func fraction() -> Int64? {
    var value: Int64 = 0
    var digits = 0
    while let byte = rest.first, ASCII.isDigit(byte) {
      rest.removeFirst()
      if digits < 9 { value = value * 10 + Int64(byte - 0x30) }
      digits += 1
    }
    guard digits > 0 else { return nil }
    for _ in min(digits, 9)..<9 { value *= 10 }
    return value
  }

  /// Seconds east of UTC.
  mutating func offset() -> Int64? {
    if take(0x5A, or: 0x7A) { return 0 }
    let sign: Int64
    if take(0x2B) { sign = 1 } else if take(0x2D) { sign = -1 } else { return nil }
    guard let hours = number(2), hours < 24, take(0x3A), let minutes = number(2), minutes < 60 else { return nil }
    return sign * (hours * 3600 + minutes * 60)
  }
}
