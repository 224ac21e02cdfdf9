import ClusterAPI
import ClusterModel
import Testing

@testable import apus

/// `apus logs --histogram`: which spans are asked for, and how they are drawn.
@Suite struct LogChartTests {
  private static let start = Timestamp(nanoseconds: 1_795_343_400_000_000_000)

  private func rows(_ text: String) throws -> [JSONValue] {
    try text.split(separator: "\n").map { try JSONValue(bytes: Array($0.utf8)) }
  }

  @Test func `spans have a round length, begin at its multiples, and are there without records, too`() throws {
    let hour = LogHistogram(
      from: Self.start.advanced(milliseconds: 1234), to: Self.start.advanced(milliseconds: 3_600_000), spans: 40)
    #expect(hour.seconds == 120 && hour.from == Self.start)
    #expect(hour.stats == "count() as n by (\"level\") per 120s")
    let (spans, truncated) = hour.spans(
      of: try rows(
        """
        {"time":"2026-11-22T10:30:00.000000000Z","level":"info","n":3}
        {"time":"2026-11-22T10:30:00.000000000Z","level":"error","n":1}
        {"time":"2026-11-22T10:34:00.000000000Z","level":null,"n":2}
        {"truncated":"time"}
        """))
    #expect(spans.count == 30 && truncated == "time")
    #expect(spans[0].count == 4 && spans[0].values == ["info": 3, "error": 1])
    #expect(spans[1].count == 0 && spans[2].values == ["": 2])
    #expect(LogHistogram(from: Self.start, to: Self.start, spans: 0).seconds == 1)
    let years = LogHistogram(from: Timestamp(nanoseconds: 0), to: Self.start, spans: 1_000_000)
    for (from, to) in [
      ("1678-01-01T00:00:00Z", "2261-12-31T00:00:00Z"), ("1700-01-01T00:00:00Z", "2026-11-22T00:00:00Z"),
      ("1900-01-01T00:00:00Z", "2200-01-01T00:00:00Z"), ("2200-01-01T00:00:00Z", "1700-01-01T00:00:00Z"),
    ] {
      let ages = LogHistogram(from: try #require(Timestamp(from)), to: try #require(Timestamp(to)), spans: 1)
      #expect(ages.seconds <= 366 * 86_400, "statistics take no longer ones")
      let spans = ages.spans(of: []).spans
      #expect(spans.count <= LogHistogram.spansMaximum && spans.isEmpty == (from > to))
    }
    #expect(years.seconds == 21 * 86_400 && years.spans(of: []).spans.count <= LogHistogram.spansMaximum)
  }

  @Test func `bars are as long as their numbers, within the columns there are`() {
    let spans = [(0, 0), (1, 0), (50, 5), (100, 100)].enumerated().map { index, counts in
      LogHistogram.Span(
        time: Self.start.advanced(milliseconds: Int64(index) * 60_000), count: counts.0,
        values: counts.1 > 0 ? ["info": counts.0 - counts.1, "error": counts.1] : ["info": counts.0])
    }
    let lines = LogChart(columns: 60, colour: false).lines(spans)
    #expect(lines.map { $0.count { $0 == "█" } } == [0, 1, 11, 22])
    #expect(lines[2] == "2026-11-22T10:32:00Z  ███████████              50  5 error")
    #expect(lines.map(\.count) == [49, 49, 58, 60])
    let coloured = LogChart(columns: 60, colour: true).lines(spans)
    #expect(
      coloured[2].contains("\u{1B}[31m█") && coloured[3].contains("\u{1B}[31m") && !coloured[3].contains("\u{1B}[32m"))
    #expect(!lines.joined().contains("\u{1B}"))
    #expect(LogChart(columns: 1, colour: false).lines([]).isEmpty)
  }
}
