internal import ClusterModel
internal import LogIndex

/// Times as Elasticsearch's requests write them: RFC 3339 and its shorter forms, milliseconds since 1970, date math.
enum ElasticTime {
  private static let second: Int64 = 1_000_000_000

  /// The nanoseconds of a value; nil for what is no time, or none that a record can have. `roundsUp`: rounding (`/d`) goes
  /// to the end of the unit.
  static func parse(
    _ value: JSONValue, format: String? = nil, now: Int64, roundsUp: Bool = false
  ) -> Int64? {
    let unit = format?.contains("epoch_second") == true ? second : 1_000_000
    switch value {
    case .int(let number): return product(number, unit)
    case .double(let number):
      let nanoseconds = number * Double(unit)
      return abs(nanoseconds) < 9e18 ? Int64(nanoseconds) : nil
    case .string(let text): return parse(text, unit: unit, now: now, roundsUp: roundsUp)
    default: return nil
    }
  }

  private static func product(_ number: Int64, _ unit: Int64) -> Int64? {
    let (nanoseconds, overflow) = number.multipliedReportingOverflow(by: unit)
    return overflow || !RecordTime.range.contains(nanoseconds) ? nil : nanoseconds
  }

  private static func parse(_ text: String, unit: Int64, now: Int64, roundsUp: Bool) -> Int64? {
    if text.hasPrefix("now") { return math(text.dropFirst(3), from: now, roundsUp: roundsUp) }
    if let bar = text.firstRange(of: "||") {
      guard let base = moment(String(text[..<bar.lowerBound]), unit: unit) else { return nil }
      return math(text[bar.upperBound...], from: base, roundsUp: roundsUp)
    }
    return moment(text, unit: unit)
  }

  private static func moment(_ text: String, unit: Int64) -> Int64? {
    let digits = text.drop { $0 == "-" }
    if digits.utf8.count > 4, digits.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }), let number = Int64(text) {
      return product(number, unit)
    }
    var whole = text
    if whole.utf8.count > 10 {
      var bytes = Array(whole.utf8)
      if bytes[10] == 0x20 { bytes[10] = 0x54 }
      whole = String(decoding: bytes, as: UTF8.self)
    }
    // What is left out is the beginning of the year, day or minute; a time without a zone is UTC.
    let forms = [
      whole, whole + "Z", whole + ":00Z", whole + "T00:00:00Z", whole + "-01T00:00:00Z", whole + "-01-01T00:00:00Z",
    ]
    for form in forms {
      if let time = RecordTime.parse(Array(form.utf8)) { return time }
    }
    // +0100 is as good as +01:00.
    let bytes = Array(whole.utf8)
    guard bytes.count > 5, bytes[bytes.count - 5] == 0x2B || bytes[bytes.count - 5] == 0x2D else { return nil }
    return RecordTime.parse(Array(bytes.dropLast(2)) + [0x3A] + Array(bytes.suffix(2)))
  }

  /// `+1d`, `-15m`, `/h` and so on behind each other.
  private static func math(_ text: Substring, from base: Int64, roundsUp: Bool) -> Int64? {
    var rest = text
    var time = base
    while let sign = rest.popFirst() {
      let digits = rest.prefix { $0.isASCII && $0.isNumber }
      rest = rest.dropFirst(digits.count)
      guard let unit = rest.popFirst(), sign == "/" ? digits.isEmpty : (sign == "+" || sign == "-"),
        let count = digits.isEmpty ? 1 : Int64(digits), count <= 1_000_000
      else { return nil }
      let next: Int64?
      if sign == "/" {
        next = rounded(time, unit, up: roundsUp)
      } else {
        next = moved(time, by: sign == "-" ? -count : count, unit)
      }
      guard let next, RecordTime.range.contains(next) else { return nil }
      time = next
    }
    return time
  }

  /// The length of a unit that is always the same; nil for months and years.
  static func length(_ unit: Character) -> Int64? {
    switch unit {
    case "s": second
    case "m": 60 * second
    case "h", "H": 3600 * second
    case "d": 86_400 * second
    case "w": 7 * 86_400 * second
    default: nil
    }
  }

  private static func moved(_ time: Int64, by count: Int64, _ unit: Character) -> Int64? {
    if let length = length(unit) {
      let (distance, far) = length.multipliedReportingOverflow(by: count)
      let (moved, out) = time.addingReportingOverflow(distance)
      return far || out ? nil : moved
    }
    guard unit == "M" || unit == "y" else { return nil }
    return month(time, plus: unit == "M" ? count : count * 12, keepsDay: true)
  }

  private static func rounded(_ time: Int64, _ unit: Character, up: Bool) -> Int64? {
    let start: Int64?
    switch unit {
    case "M": start = month(time, plus: 0, keepsDay: false)
    case "y":
      let text = RecordTime.text(time)
      start = RecordTime.parse(Array("\(text.prefix(4))-01-01T00:00:00Z".utf8))
    default:
      // Weeks begin on Mondays; 1970 began on a Thursday.
      let shift = unit == "w" ? 3 * 86_400 * second : 0
      start = length(unit).map { length in
        let rest = (time + shift) % length
        return time - (rest < 0 ? rest + length : rest)
      }
    }
    guard let start, up else { return start }
    return moved(start, by: 1, unit).map { $0 - 1 }
  }

  /// The same moment in another month, its last day at most; or that month's beginning.
  private static func month(_ time: Int64, plus months: Int64, keepsDay: Bool) -> Int64? {
    let text = RecordTime.text(time)
    let parts = text.prefix(10).split(separator: "-").compactMap { Int64($0) }
    guard parts.count == 3 else { return nil }
    let count = parts[0] * 12 + parts[1] - 1 + months
    let head = two(count / 12, 4) + "-" + two(count % 12 + 1, 2) + "-"
    guard keepsDay else { return RecordTime.parse(Array((head + "01T00:00:00Z").utf8)) }
    for day in stride(from: parts[2], through: 28, by: -1) {
      if let moved = RecordTime.parse(Array((head + two(day, 2) + text.dropFirst(10)).utf8)) { return moved }
    }
    return RecordTime.parse(Array((head + two(parts[2], 2) + text.dropFirst(10)).utf8))
  }

  private static func two(_ number: Int64, _ digits: Int) -> String {
    let text = String(number)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
  }

  /// RFC 3339 with three digits behind the second, or nine where three do not hold it.
  static func text(_ nanoseconds: Int64) -> String {
    Timestamp(nanoseconds: nanoseconds).text(digits: nanoseconds % 1_000_000 == 0 ? 3 : 9)
  }

  /// Milliseconds since 1970, downwards.
  static func milliseconds(_ nanoseconds: Int64) -> Int64 {
    let rest = nanoseconds % 1_000_000
    return (nanoseconds - rest) / 1_000_000 - (rest < 0 ? 1 : 0)
  }
}
