package import ClusterModel

/// How many records there were in each span of time, by the values of a field: planned as statistics of the query
/// language, and put together from their rows. Pure.
package struct LogHistogram: Hashable, Sendable {
  /// Spans of one histogram, at most.
  package static let spansMaximum = 1000
  /// Spans when nobody says how many.
  package static let spansDefault = 60

  /// The longest span, seconds: what statistics take. Longer times have more spans than were asked for.
  private static let longest: Int64 = 366 * 86_400

  /// The lengths that a span can have, seconds; longer ones are multiples of the last.
  static let lengths: [Int64] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400,
  ]

  /// The first moment of the first span.
  package let from: Timestamp
  /// The end of the time looked at.
  package let to: Timestamp
  /// The length of a span, seconds.
  package let seconds: Int64
  /// The field whose values are told apart; nil for none.
  package let field: String?

  /// One span.
  package struct Span: Hashable, Sendable {
    /// Its first moment.
    package var time: Timestamp
    /// Its records.
    package var count = 0
    /// The same by the field's values; the empty text is for records without it.
    package var values: [String: Int] = [:]

    /// A span of all parts.
    package init(time: Timestamp, count: Int = 0, values: [String: Int] = [:]) {
      self.time = time
      self.count = count
      self.values = values
    }
  }

  /// A histogram of the time between two moments in at most so many spans, which begin at multiples of their length.
  package init(from: Timestamp, to: Timestamp, spans: Int = LogHistogram.spansDefault, field: String? = "level") {
    let spans = Int64(min(max(spans, 1), Self.spansMaximum))
    let (distance, isFar) = to.nanoseconds.subtractingReportingOverflow(from.nanoseconds)
    let length = max(1, distance / 1_000_000_000)
    let least = isFar ? Self.longest : (length + spans - 1) / spans
    let day = Self.lengths[Self.lengths.count - 1]
    seconds = Self.lengths.first { $0 >= least } ?? min((least + day - 1) / day * day, Self.longest)
    self.from = Self.start(from, span: seconds * 1_000_000_000)
    self.to = to
    self.field = field
  }

  /// The multiple of a span that a moment comes behind, as far back as there are times.
  private static func start(_ time: Timestamp, span: Int64) -> Timestamp {
    let rest = time.nanoseconds % span
    let (start, isOut) = time.nanoseconds.subtractingReportingOverflow(rest < 0 ? rest + span : rest)
    return isOut ? time : Timestamp(nanoseconds: start)
  }

  /// The statistics to ask for.
  package var stats: String { "count() as n" + (field.map { " by (\(Self.quoted($0)))" } ?? "") + " per \(seconds)s" }

  private static func quoted(_ text: String) -> String {
    "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
  }

  /// The spans, those without records too, from the rows of the statistics; and why they are not complete, if so.
  package func spans(of rows: [JSONValue]) -> (spans: [Span], truncated: String?) {
    var found: [Timestamp: Span] = [:]
    var truncated: String?
    for row in rows {
      if let reason = row["truncated"]?.stringValue { truncated = reason }
      guard let time = row["time"]?.stringValue.flatMap({ Timestamp($0) }), let count = row["n"]?.intValue else {
        continue
      }
      var span = found[time] ?? Span(time: time)
      span.count += Int(count)
      if field != nil {
        let value = row.objectValue?.first { $0.key != "time" && $0.key != "n" }?.value
        span.values[value?.stringValue ?? "", default: 0] += Int(count)
      }
      found[time] = span
    }
    var spans: [Span] = []
    var time = from
    while time < to, spans.count <= Self.spansMaximum {
      spans.append(found[time] ?? Span(time: time))
      let span = seconds * 1_000_000_000
      let (next, isOut) = time.nanoseconds.addingReportingOverflow(span)
      if isOut { break }
      time = Self.start(Timestamp(nanoseconds: next), span: span)
    }
    return (spans, truncated)
  }
}
