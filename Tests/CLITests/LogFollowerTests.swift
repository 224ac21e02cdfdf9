import ClusterAPI
import ClusterModel
import Testing

@testable import apus

/// What `apus logs -f` asks for and shows when its stream broke, without a server.
@Suite struct LogFollowerTests {
  private static func line(_ text: String, _ time: Timestamp) -> [UInt8] {
    Array("{\"time\":\"\(time)\",\"msg\":\"\(text)\"}".utf8)
  }

  private static func moment(_ seconds: Int64) -> Timestamp { Samples.now.advanced(milliseconds: seconds * 1000) }

  /// The newest first, as history comes.
  private static let old = [line("b", moment(-1)), line("a", moment(-2))]

  @Test func `after a line from the future nothing of a gap is lost, and nothing comes twice`() {
    var course = FollowCourse(LogRequest(namespaces: ["default"], limit: 20))
    #expect(!course.hasBegun && course.history.since == nil && course.history.limit == 20)
    let first = course.take(history: Self.old, opened: Self.moment(0))
    #expect(first.new == Array(Self.old.reversed()) && first.limit == nil)
    #expect(course.hasBegun)
    let ahead = Self.line("ahead", Self.moment(86_400))
    let isShown = course.take(ahead, at: Self.moment(5))
    #expect(isShown)
    #expect(course.history.since == Self.moment(5).advanced(milliseconds: -FollowCourse.margin))
    #expect(course.history.limit == Logs.linesBounded)
    let gap = Self.line("gap", Self.moment(20))
    let second = course.take(history: [ahead, gap] + Self.old, opened: Self.moment(60))
    #expect(second.new == [gap] && second.limit == nil)
    #expect(course.history.since == Self.moment(60).advanced(milliseconds: -FollowCourse.margin))
  }

  @Test func `what was not asked for at first does not come after a break`() {
    var course = FollowCourse(LogRequest(namespaces: nil, limit: 2))
    _ = course.take(history: Self.old, opened: Self.moment(0))
    #expect(course.history.since == Self.moment(-2), "there are older lines than the two")
    course = FollowCourse(LogRequest(namespaces: nil, since: Self.moment(-30), limit: 20))
    _ = course.take(history: Self.old, opened: Self.moment(0))
    #expect(course.history.since == Self.moment(-30))
    _ = course.take(Self.line("c", Self.moment(300)), at: Self.moment(300))
    #expect(course.history.since == Self.moment(180))
  }

  @Test func `notices are no repetitions of one another, records are`() {
    var course = FollowCourse(LogRequest(namespaces: nil))
    let dropped = Array(#"{"dropped":3}"#.utf8)
    let shown = [dropped, Self.old[0], dropped, Self.old[0]].map { course.take($0, at: Self.moment(0)) }
    #expect(shown == [true, true, true, false])
  }

  @Test func `a history of as many lines as there may be is told, and remembered as a whole`() {
    var course = FollowCourse(LogRequest(namespaces: nil, limit: 2))
    let first = course.take(history: Self.old, opened: Self.moment(0))
    #expect(first.limit == nil, "as many as were asked for")
    let lines = (0..<Logs.linesBounded).map { Self.line("\($0)", Self.moment(10)) }
    let gap = course.take(history: lines, opened: Self.moment(60))
    #expect(gap.new.count == lines.count && gap.limit == Logs.linesBounded)
    let newer = (0..<Logs.linesBounded / 2).map { Self.line("newer \($0)", Self.moment(70)) }
    let overlap = course.take(history: newer + Array(lines.prefix(lines.count - newer.count)), opened: Self.moment(120))
    #expect(overlap.new.count == newer.count && overlap.limit == Logs.linesBounded)
  }
}
