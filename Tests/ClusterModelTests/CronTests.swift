import ClusterModel
import ClusterTestSupport
import Testing

@Suite("Cron expressions")
struct CronTests {
  /// Berlin in 2026: 02:00 is left out on 29 March (01:00 UTC), 02:00 to 03:00 is shown twice on 25 October (01:00 UTC).
  private static let berlin = ZoneTable(
    first: 3600,
    changes: [
      .init(at: seconds("2026-03-29T01:00:00Z"), offset: 7200),
      .init(at: seconds("2026-10-25T01:00:00Z"), offset: 3600),
    ])
  /// Lord Howe Island: its clocks move by half an hour.
  private static let lordHowe = ZoneTable(
    first: 11 * 3600,
    changes: [
      .init(at: seconds("2026-04-04T15:00:00Z"), offset: 37_800),
      .init(at: seconds("2026-10-03T15:30:00Z"), offset: 39_600),
    ])

  private static func time(_ text: String) -> Timestamp { Timestamp(text) ?? Timestamp(nanoseconds: 0) }
  private static func seconds(_ text: String) -> Int64 { time(text).milliseconds / 1000 }

  private func runs(_ cron: String, after: String, _ count: Int, in zone: ZoneTable = .utc) throws -> [String] {
    let expression = try CronExpression(cron)
    var found: [String] = []
    var from = Self.time(after)
    for _ in 0..<count {
      guard let next = expression.next(after: from, in: zone) else { break }
      found.append(next.description)
      from = next
    }
    return found
  }

  @Test(
    "fields, lists, ranges, steps, names and words",
    arguments: [
      ("*/20 * * * *", ["2026-01-01T00:20:00Z", "2026-01-01T00:40:00Z", "2026-01-01T01:00:00Z"]),
      ("5,10-12 3 * * *", ["2026-01-01T03:05:00Z", "2026-01-01T03:10:00Z", "2026-01-01T03:11:00Z"]),
      ("7/25 0 * * *", ["2026-01-01T00:07:00Z", "2026-01-01T00:32:00Z", "2026-01-01T00:57:00Z"]),
      ("0 0 * feb,APR Sun", ["2026-02-01T00:00:00Z", "2026-02-08T00:00:00Z", "2026-02-15T00:00:00Z"]),
      ("30 6 * * mon-fri/2", ["2026-01-02T06:30:00Z", "2026-01-05T06:30:00Z", "2026-01-07T06:30:00Z"]),
      ("0 12 * * 7", ["2026-01-04T12:00:00Z", "2026-01-11T12:00:00Z"]),
      ("0 12 * * 5-7", ["2026-01-02T12:00:00Z", "2026-01-03T12:00:00Z", "2026-01-04T12:00:00Z"]),
      ("0 0 29 2 *", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]),
      ("@hourly", ["2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"]),
      ("@weekly", ["2026-01-04T00:00:00Z", "2026-01-11T00:00:00Z"]),
      ("@Yearly", ["2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"]),
      ("@every 90m", ["2026-01-01T01:30:00Z", "2026-01-01T03:00:00Z"]),
      ("@every 1s", ["2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"]),
    ] as [(String, [String])])
  func fields(cron: String, times: [String]) throws {
    #expect(try runs(cron, after: "2026-01-01T00:00:00Z", times.count) == times)
  }

  @Test("two restricted day fields are an or; a star in one of them makes it an and")
  func days() throws {
    #expect(
      try runs("0 0 13 * fri", after: "2026-01-31T00:00:00Z", 4)
        == ["2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z", "2026-02-27T00:00:00Z"])
    #expect(
      try runs("0 0 13 * *", after: "2026-01-31T00:00:00Z", 2) == ["2026-02-13T00:00:00Z", "2026-03-13T00:00:00Z"])
    #expect(
      try runs("0 0 */2 * tue", after: "2026-01-01T00:00:00Z", 3)
        == ["2026-01-13T00:00:00Z", "2026-01-27T00:00:00Z", "2026-02-03T00:00:00Z"])
  }

  @Test(
    "what is wrong is said with the field it is in",
    arguments: [
      ("61 * * * *", "minute: \"61\" is out of range; use 0 to 59"), ("* 24 * * *", "hour:"),
      ("* * 0 * *", "day-of-month:"), ("* * * 13 *", "month:"), ("* * * * 8", "day-of-week:"),
      ("* * * foo *", "month: \"foo\" is not a number or one of jan"), ("5-1 * * * *", "runs backwards"),
      ("*/0 * * * *", "minute: \"*/0\" has no step"), ("*/x * * * *", "has no step"), ("1,,2 * * * *", "minute:"),
      ("1-2-3 * * * *", "is not a range"), ("-1 * * * *", "minute:"), ("* * * *", "has 4 fields"),
      ("0 * * * * *", "@every 10s"), ("", "five fields"), ("@reboot", "\"@reboot\" is not known"),
      ("@every", "not a duration"), ("@every 10", "not a duration"), ("@every 500ms", "whole seconds from 1s"),
      ("@every 1500ms", "whole seconds"), ("@every 400d", "out of range"), ("0 0 30 2 *", "never happens"),
      ("0 0 31 4,6 *", "never happens"), ("TZ=UTC * * * * *", "timeZone"),
      ("1 2 3 4 99999999999999999999", "day-of-week:"),
    ])
  func flaws(cron: String, words: String) {
    let flaw = #expect(throws: CronExpression.Flaw.self) { _ = try CronExpression(cron) }
    #expect(flaw?.description.contains(words) == true, "\(cron): \(flaw?.description ?? "")")
  }

  @Test("in spring, a fixed time that is left out runs at the change, and a starred one does not run")
  func spring() throws {
    func berlin(_ cron: String, _ count: Int) throws -> [String] {
      try runs(cron, after: "2026-03-28T02:00:00Z", count, in: Self.berlin)
    }
    // 28 March 02:30 local was at 01:30 UTC; on the 29th the clocks go from 02:00 to 03:00 at 01:00 UTC.
    #expect(try berlin("30 2 * * *", 2) == ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"])
    #expect(try berlin("0,30 2 29 3 *", 1) == ["2026-03-29T01:00:00Z"], "two times left out are one run")
    #expect(try berlin("0 3 * * *", 1) == ["2026-03-29T01:00:00Z"])
    #expect(try berlin("*/30 2 * * *", 2) == ["2026-03-30T00:00:00Z", "2026-03-30T00:30:00Z"])
    #expect(
      try runs("0 * * * *", after: "2026-03-28T23:30:00Z", 3, in: Self.berlin)
        == ["2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"])
  }

  @Test("in autumn, a fixed time that is shown twice runs once, and a starred one twice")
  func autumn() throws {
    #expect(
      try runs("30 2 * * *", after: "2026-10-24T12:00:00Z", 2, in: Self.berlin)
        == ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"])
    // Asked between the two, it is over.
    #expect(
      try runs("30 2 * * *", after: "2026-10-25T00:45:00Z", 1, in: Self.berlin) == ["2026-10-26T01:30:00Z"])
    #expect(
      try runs("*/30 2 * * *", after: "2026-10-24T12:00:00Z", 5, in: Self.berlin)
        == [
          "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z",
          "2026-10-26T01:00:00Z",
        ])
    #expect(
      try runs("0 * * * *", after: "2026-10-24T23:30:00Z", 4, in: Self.berlin)
        == ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z", "2026-10-25T03:00:00Z"])
    #expect(
      try runs("45 1 * * *", after: "2026-04-04T12:00:00Z", 2, in: Self.lordHowe)
        == ["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"])
    #expect(
      try runs("15 2 * * *", after: "2026-10-03T12:00:00Z", 2, in: Self.lordHowe)
        == ["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"])
  }

  @Test("a change of the clocks at midnight moves days neither away nor twice")
  func midnight() throws {
    // 00:00 is left out on 1 March; on 1 November 00:01 goes back to 23:01 of the day before.
    let zone = ZoneTable(
      first: 0,
      changes: [
        .init(at: Self.seconds("2026-03-01T00:00:00Z"), offset: 3600),
        .init(at: Self.seconds("2026-10-31T23:01:00Z"), offset: 0),
      ])
    #expect(
      try runs("0 0 * * *", after: "2026-02-27T12:00:00Z", 3, in: zone)
        == ["2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z", "2026-03-01T23:00:00Z"])
    #expect(
      try runs("*/30 * * * *", after: "2026-10-31T22:15:00Z", 4, in: zone)
        == ["2026-10-31T22:30:00Z", "2026-10-31T23:00:00Z", "2026-10-31T23:30:00Z", "2026-11-01T00:00:00Z"])
  }

  @Test("a zone of the data base agrees with its table")
  func named() throws {
    let named = try #require(NamedZone("Europe/Berlin"))
    let expression = try CronExpression("30 2 * * *")
    var (one, other) = (Self.time("2026-03-01T00:00:00Z"), Self.time("2026-03-01T00:00:00Z"))
    for _ in 0..<280 {
      one = try #require(expression.next(after: one, in: named))
      other = try #require(expression.next(after: other, in: Self.berlin))
      #expect(one == other)
    }
    #expect(NamedZone.offsets("UTC") != nil && NamedZone.offsets("America/St_Johns") != nil)
    for name in ["Mars/Olympus", "", "../etc/passwd", "Europe/Berlin\u{0}", "+25:00"] {
      #expect(NamedZone.offsets(name) == nil, "\(name)")
    }
  }

  @Test("the next run of a random expression is the first minute that a slow search finds")
  func oracle() throws {
    var random = SeededGenerator(seed: 5)
    func field(_ range: ClosedRange<Int>) -> String {
      switch Int.random(in: 0...4, using: &random) {
      case 0, 1: "*"
      case 2: "*/\(Int.random(in: 2...7, using: &random))"
      case 3: "\(Int.random(in: range, using: &random))"
      default: "\(Int.random(in: range.lowerBound...(range.lowerBound + 2), using: &random))-\(range.upperBound)"
      }
    }
    for _ in 0..<300 {
      let cron = [field(0...59), field(0...23), field(1...28), field(1...12), field(0...6)].joined(separator: " ")
      let expression = try CronExpression(cron)
      let start = Timestamp(milliseconds: Int64.random(in: 1_700_000_000...1_900_000_000, using: &random) * 1000)
      let next = try #require(expression.next(after: start, in: ZoneTable.utc))
      #expect(next > start && next.milliseconds % 60_000 == 0, "\(cron)")
      // Nothing in between: asked from any moment before it, the answer is the same.
      for _ in 0..<5 {
        let between = Int64.random(in: start.milliseconds..<next.milliseconds, using: &random)
        #expect(expression.next(after: Timestamp(milliseconds: between), in: ZoneTable.utc) == next, "\(cron)")
      }
      #expect(expression.last(until: next, after: start, in: ZoneTable.utc) == next)
      #expect(expression.last(until: next.advanced(milliseconds: -1), after: start, in: ZoneTable.utc) == nil)
    }
  }

  @Test("the last moment is found however long ago it was")
  func last() throws {
    let now = Self.time("2026-06-15T10:30:00Z")
    func last(_ cron: String, after: String) throws -> String? {
      try CronExpression(cron).last(until: now, after: Self.time(after), in: ZoneTable.utc)?.description
    }
    #expect(try last("* * * * *", after: "2020-01-01T00:00:00Z") == "2026-06-15T10:30:00Z")
    #expect(try last("0 3 * * *", after: "2020-01-01T00:00:00Z") == "2026-06-15T03:00:00Z")
    #expect(try last("0 0 29 2 *", after: "2020-01-01T00:00:00Z") == "2024-02-29T00:00:00Z")
    #expect(try last("0 0 29 2 *", after: "2025-01-01T00:00:00Z") == nil)
    #expect(try last("@every 7s", after: "2020-01-01T00:00:00Z") == "2026-06-15T10:29:57Z")
  }
}

@Suite("Schedules in a manifest")
struct ScheduleManifestTests {
  private func admit(_ schedule: String) throws -> Result<Function, Faults> {
    let text = """
      {"apiVersion":"apus.dev/v1","kind":"Function","metadata":{"name":"f"},
       "spec":{"runtime":"python","handler":"h.py","schedule":\(schedule)}}
      """
    return Admission.admit(function: try JSONValue(bytes: text.utf8))
  }

  @Test("a schedule of a cron expression alone has every default")
  func defaults() throws {
    let schedule = try #require(try admit(#"[{"cron":"@hourly"}]"#).get().spec.schedule?.first)
    #expect(schedule.name == "default" && schedule.timeZone == "UTC" && schedule.concurrencyPolicy == .allow)
    #expect(schedule.startingDeadline == nil && !schedule.suspend)
    #expect(schedule.call == ScheduledCall())
  }

  @Test(
    "what is wrong is named by its path",
    arguments: [
      (#"[{}]"#, "spec.schedule[0].cron: is required"),
      (#"[{"cron":"* * * * 9"}]"#, "spec.schedule[0].cron: day-of-week: \"9\""),
      (
        #"[{"cron":"@hourly"},{"cron":"@daily"}]"#, "spec.schedule[1].name: \"default\" is the name of spec.schedule[0]"
      ),
      (#"[{"cron":"@hourly","timeZone":"Berlin"}]"#, "spec.schedule[0].timeZone"),
      (#"[{"cron":"@hourly","concurrencyPolicy":"Replace"}]"#, "cannot be taken back"),
      (#"[{"cron":"@hourly","startingDeadline":"10ms"}]"#, "spec.schedule[0].startingDeadline"),
      (#"[{"cron":"@hourly","call":{"path":"x"}}]"#, "spec.schedule[0].call.path"),
      (#"[{"cron":"@hourly","call":{"path":"/x#y"}}]"#, "%23"),
      (#"[{"cron":"@hourly","call":{"contentType":"a\r\nb"}}]"#, "spec.schedule[0].call.contentType"),
      (#"[{"cron":"@hourly","call":{"method":"CONNECT"}}]"#, "spec.schedule[0].call.method"),
      (#"[{"cron":"@hourly","tz":"UTC"}]"#, "spec.schedule[0].tz: unknown field"),
    ])
  func faults(schedule: String, words: String) throws {
    guard case .failure(let faults) = try admit(schedule) else {
      Issue.record("\(schedule) was taken")
      return
    }
    #expect(faults.description.contains(words), "\(faults)")
  }

  @Test("at most 16 schedules are taken")
  func count() throws {
    func many(_ count: Int) throws -> Result<Function, Faults> {
      try admit("[" + (0..<count).map { #"{"name":"s\#($0)","cron":"@hourly"}"# }.joined(separator: ",") + "]")
    }
    #expect(throws: Never.self) { try many(Limits.schedulesOfFunction).get() }
    #expect(throws: Faults.self) { try many(Limits.schedulesOfFunction + 1).get() }
  }
}
