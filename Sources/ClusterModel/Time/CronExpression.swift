/// When something happens again and again: five fields as cron has them, a word for them (`@hourly`), or `@every 10s`.
///
/// `minute hour day-of-month month day-of-week`; each `*`, a number, a range `1-5`, a list of those, with steps `*/5`,
/// `10-50/10`, `5/15` (from 5 on). Months and days of the week have names (`jan`, `mon`); Sunday is 0 and 7. When both
/// day fields are restricted, one of them is enough, as in cron; a field that begins with `*` restricts nothing.
package struct CronExpression: Hashable, Sendable, CustomStringConvertible {
  /// What is wrong with an expression; names the field.
  package struct Flaw: Error, Hashable, CustomStringConvertible {
    /// The flaw in words, with what to write instead.
    package let description: String

    init(_ description: String) { self.description = description }
  }

  /// What an expression says.
  enum Rule: Hashable, Sendable {
    case fields(CronFields)
    /// At the multiples of a span since 1970 UTC, so that it needs no beginning; milliseconds.
    case every(Int64)
  }

  /// The shortest span of `@every`, milliseconds.
  package static let shortest: Int64 = 1000
  /// The longest span of `@every`, milliseconds: 365 days.
  package static let longest: Int64 = 365 * 86_400_000

  /// The text as written.
  package let description: String
  let rule: Rule

  private static let words: [String: String] = [
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
  ]

  /// Reads an expression; throws a flaw that names the field.
  package init(_ text: String) throws(Flaw) {
    description = text
    let parts = text.split { $0 == " " || $0 == "\t" }.map(String.init)
    guard let first = parts.first, text.utf8.count <= 256 else {
      throw Flaw("is empty or too long; use five fields such as \"*/5 * * * *\"")
    }
    if first == "@every" {
      rule = .every(try Self.span(parts.dropFirst().joined(separator: " ")))
    } else if first.hasPrefix("@") {
      guard parts.count == 1, let fields = Self.words[first.lowercased()] else {
        let known = (Self.words.keys + ["@every 10s"]).sorted().joined(separator: ", ")
        throw Flaw("\"\(text.prefix(80))\" is not known; use five fields or one of \(known)")
      }
      rule = .fields(try CronFields(fields.split(separator: " ").map(String.init)))
    } else if first.hasPrefix("TZ=") || first.hasPrefix("CRON_TZ=") {
      throw Flaw("names a time zone; that stands in timeZone")
    } else {
      guard parts.count == 5 else {
        throw Flaw(
          "\"\(text.prefix(80))\" has \(parts.count) \(parts.count == 1 ? "field" : "fields"); use five: minute hour "
            + "day-of-month month day-of-week (below a minute: @every 10s)")
      }
      rule = .fields(try CronFields(parts))
    }
    guard next(after: Timestamp(milliseconds: 0), in: ZoneTable.utc) != nil else {
      throw Flaw("\"\(text.prefix(80))\" never happens: no month has such a day")
    }
  }

  private static func span(_ text: String) throws(Flaw) -> Int64 {
    guard let span = TimeSpan(text) else {
      throw Flaw("@every: \"\(text.prefix(80))\" is not a duration; use @every 10s, @every 5m or @every 1h30m")
    }
    guard (shortest...longest).contains(span.milliseconds), span.milliseconds % 1000 == 0 else {
      throw Flaw("@every: \"\(text.prefix(80))\" is out of range; use whole seconds from 1s to 365d")
    }
    return span.milliseconds
  }

  /// The first moment after another at which it happens; nil when there is none in 41 years.
  ///
  /// Where clocks change, as cron has it: with a `*` in minute or hour, what the clock shows counts, so that an hour that is
  /// shown twice counts twice and one that is left out not at all. Without one, each local time counts once: shown twice,
  /// the first time; left out, at the moment of the change.
  package func next(after time: Timestamp, in zone: some ZoneOffsets) -> Timestamp? {
    switch rule {
    case .every(let milliseconds):
      let span = milliseconds * 1_000_000
      return Timestamp(nanoseconds: (CronFields.floor(time.nanoseconds, span) + 1) * span)
    case .fields(let fields):
      let after = CronFields.floor(time.nanoseconds, 1_000_000_000)
      return fields.next(after: after, in: zone).map { Timestamp(nanoseconds: $0 * 1_000_000_000) }
    }
  }

  /// The last moment at or before another at which it happens, and after an earlier one; nil when there is none.
  package func last(until time: Timestamp, after earlier: Timestamp, in zone: some ZoneOffsets) -> Timestamp? {
    if case .every(let milliseconds) = rule {
      let span = milliseconds * 1_000_000
      let found = Timestamp(nanoseconds: CronFields.floor(time.nanoseconds, span) * span)
      return found > earlier ? found : nil
    }
    // Ever longer stretches back, so that few moments are looked at in the one that holds any.
    for minutes in [2, 60, 1440, 31 * 1440, 366 * 1440, 41 * 366 * 1440] as [Int64] {
      let start = max(earlier, time.advanced(milliseconds: -minutes * 60_000))
      var found: Timestamp?
      var from = start
      while let moment = next(after: from, in: zone), moment <= time {
        found = moment
        from = moment
      }
      if let found { return found }
      if start == earlier { return nil }
    }
    return nil
  }
}
