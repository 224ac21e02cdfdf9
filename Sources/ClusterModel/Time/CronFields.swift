/// The five fields of a cron expression as sets of numbers.
struct CronFields: Hashable, Sendable {
  /// Days that are searched: 41 years hold every combination of a day, a month and a day of the week.
  private static let searchedDays: Int64 = 41 * 366
  private static let day: Int64 = 86_400

  private let minutes: UInt64
  private let hours: UInt64
  private let days: UInt64
  private let months: UInt64
  private let weekdays: UInt64
  /// Whether both day fields must hold, because one of them begins with `*`; else one is enough.
  private let bothDays: Bool
  /// Whether minute or hour begin with `*`: what the clock shows counts, not each local time once.
  private let isInterval: Bool

  private struct Field {
    let name: String
    let range: ClosedRange<Int>
    var names: [String] = []
  }

  private static let fields = [
    Field(name: "minute", range: 0...59), Field(name: "hour", range: 0...23),
    Field(name: "day-of-month", range: 1...31),
    Field(
      name: "month", range: 1...12,
      names: ["", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    Field(name: "day-of-week", range: 0...7, names: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
  ]

  /// Reads five fields.
  init(_ parts: [String]) throws(CronExpression.Flaw) {
    var sets: [UInt64] = []
    for (field, text) in zip(Self.fields, parts) { sets.append(try Self.set(text, field)) }
    minutes = sets[0]
    hours = sets[1]
    days = sets[2]
    months = sets[3]
    // Sunday is 7, too.
    weekdays = (sets[4] | sets[4] >> 7) & 0x7F
    bothDays = parts[2].hasPrefix("*") || parts[4].hasPrefix("*")
    isInterval = parts[0].hasPrefix("*") || parts[1].hasPrefix("*")
  }

  private static func set(_ text: String, _ field: Field) throws(CronExpression.Flaw) -> UInt64 {
    var set: UInt64 = 0
    for item in text.split(separator: ",", omittingEmptySubsequences: false) {
      let parts = item.split(separator: "/", omittingEmptySubsequences: false)
      guard parts.count <= 2, !parts[0].isEmpty else { throw flaw(field, item, "is not a value") }
      var step = 1
      if parts.count == 2 {
        guard let number = number(parts[1]), (1...field.range.upperBound).contains(number) else {
          throw flaw(field, item, "has no step from 1 to \(field.range.upperBound) behind the /")
        }
        step = number
      }
      let range = try range(parts[0], field, isOpen: parts.count == 2)
      for value in stride(from: range.lowerBound, through: range.upperBound, by: step) { set |= 1 << UInt64(value) }
    }
    return set
  }

  /// `*`, `3`, `3-5`; a single value with a step behind it goes up to the end.
  private static func range(
    _ text: Substring, _ field: Field, isOpen: Bool
  ) throws(CronExpression.Flaw) -> ClosedRange<Int> {
    let whole = field.range.lowerBound...(field.name == "day-of-week" ? 6 : field.range.upperBound)
    if text == "*" { return whole }
    let ends = text.split(separator: "-", omittingEmptySubsequences: false)
    guard ends.count <= 2 else { throw flaw(field, text, "is not a range") }
    let first = try value(ends[0], field)
    guard ends.count == 2 else { return first...(isOpen ? max(first, whole.upperBound) : first) }
    let last = try value(ends[1], field)
    guard first <= last else { throw flaw(field, text, "runs backwards; list the values instead") }
    return first...last
  }

  private static func value(_ text: Substring, _ field: Field) throws(CronExpression.Flaw) -> Int {
    let word = text.lowercased()
    if !word.isEmpty, let index = field.names.firstIndex(of: word) { return index }
    guard let number = number(text) else {
      let names = field.names.filter { !$0.isEmpty }
      throw flaw(
        field, text,
        "is not a number" + (names.isEmpty ? "" : " or one of \(names.joined(separator: ", "))") + outOf(field))
    }
    guard field.range.contains(number) else { throw flaw(field, text, "is out of range" + outOf(field)) }
    return number
  }

  private static func outOf(_ field: Field) -> String {
    "; use \(field.range.lowerBound) to \(field.range.upperBound)"
  }

  private static func number(_ text: Substring) -> Int? {
    guard (1...4).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
    return Int(text)
  }

  private static func flaw(_ field: Field, _ text: some StringProtocol, _ what: String) -> CronExpression.Flaw {
    CronExpression.Flaw("\(field.name): \"\(text.prefix(40))\" \(what)")
  }

  // MARK: walking

  /// Division that rounds down.
  static func floor(_ value: Int64, _ by: Int64) -> Int64 {
    let quotient = value / by
    return value % by < 0 ? quotient - 1 : quotient
  }

  /// The first second after another at which the fields hold; nil when there is none in 41 years.
  func next(after: Int64, in zone: some ZoneOffsets) -> Int64? {
    // A day earlier, as clocks set back over midnight show the day before again.
    let today = Self.floor(after + zone.offset(at: after), Self.day) - 1
    for day in today...(today + Self.searchedDays) where holds(onDay: day) {
      guard let found = first(on: day, after: after, in: zone) else { continue }
      guard found.clocksChange, holds(onDay: day + 1),
        let second = first(on: day + 1, after: after, in: zone)
      else { return found.moment }
      return min(found.moment, second.moment)
    }
    return nil
  }

  /// Whether the date fields hold on a day (days since 1970).
  private func holds(onDay day: Int64) -> Bool {
    let (_, month, date) = Timestamp.civil(fromDays: day)
    guard months >> UInt64(month) & 1 == 1 else { return false }
    // The first of January 1970 was a Thursday.
    let weekday = ((day + 4) % 7 + 7) % 7
    let (byDate, byWeekday) = (days >> UInt64(date) & 1 == 1, weekdays >> UInt64(weekday) & 1 == 1)
    return bothDays ? byDate && byWeekday : byDate || byWeekday
  }

  /// The first moment of a local day that is after another; whether clocks change around that day.
  private func first(
    on day: Int64, after: Int64, in zone: some ZoneOffsets
  ) -> (moment: Int64, clocksChange: Bool)? {
    let start = day * Self.day
    let before = zone.offset(at: start - Self.day)
    let offsets = Set([before, zone.offset(at: start + Self.day / 2), zone.offset(at: start + 2 * Self.day)])
    var found: Int64?
    for hour in 0..<24 as Range<Int64> where hours >> UInt64(hour) & 1 == 1 {
      for minute in 0..<60 as Range<Int64> where minutes >> UInt64(minute) & 1 == 1 {
        let local = start + hour * 3600 + minute * 60
        if offsets.count == 1 {
          if local - before > after { return (local - before, false) }
        } else {
          for moment in moments(local, offsets, zone) where moment > after { found = min(found ?? moment, moment) }
        }
      }
    }
    return found.map { ($0, true) }
  }

  /// When a local time is, near a change of the clocks: once, twice, or not at all.
  private func moments(_ local: Int64, _ offsets: Set<Int64>, _ zone: some ZoneOffsets) -> [Int64] {
    let found = offsets.map { local - $0 }.filter { zone.offset(at: $0) == local - $0 }.sorted()
    if isInterval { return found }
    if let first = found.first { return [first] }
    // The clocks leave it out: the moment at which they do stands for it.
    guard let least = offsets.min(), let most = offsets.max() else { return [] }
    var (low, high) = (local - most, local - least)
    let old = zone.offset(at: low)
    while high - low > 1 {
      let middle = low + (high - low) / 2
      if zone.offset(at: middle) == old { low = middle } else { high = middle }
    }
    return [high]
  }
}
