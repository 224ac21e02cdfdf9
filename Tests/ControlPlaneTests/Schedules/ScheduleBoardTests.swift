import ClusterModel
import Foundation
import Testing

@testable import ControlPlane

/// The rules of schedules, on a clock of the test.
@Suite("Schedules: board") struct ScheduleBoardTests {
  private static func time(_ text: String) -> Timestamp { Timestamp(text) ?? Timestamp(nanoseconds: 0) }
  private let noon = time("2026-05-04T12:00:00Z")
  private static let key = ScheduleBoard.Key(namespace: "default", function: "f", uid: "u", name: "default")

  private func function(
    _ cron: String = "*/10 * * * *", serves: Bool = true, _ change: (inout ScheduleSpec) -> Void = { _ in }
  ) -> ScheduledFunction {
    var spec = ScheduleSpec(name: "default", cron: cron)
    change(&spec)
    return ScheduledFunction(namespace: "default", name: "f", uid: "u", serves: serves, schedules: [spec])
  }

  private func due(_ board: inout ScheduleBoard, _ text: String, open: Set<String> = []) -> ScheduleBoard.Step? {
    board.due(Self.time("2026-05-04T\(text)Z"), atMost: 10, isOpen: open.contains).first
  }

  @Test func `a run is due at its time, once, and the next one after it is settled`() {
    var board = ScheduleBoard()
    let begun = board.follow([function()], at: noon)
    #expect(begun.changed[Self.key]?.cursor == noon && begun.gone.isEmpty)
    #expect(due(&board, "12:09:59") == nil)
    guard let step = due(&board, "12:10:00.05") else { return #expect(Bool(false), "nothing is due") }
    #expect(step.run == Self.time("2026-05-04T12:10:00Z") && step.notes.isEmpty && step.record.runs == 1)
    #expect(due(&board, "12:10:01") == nil, "it is being written")
    board.settle(step)
    #expect(due(&board, "12:19:59") == nil)
    #expect(due(&board, "12:20:00")?.run == Self.time("2026-05-04T12:20:00Z"))
    let status = board.statuses(of: "default/f")
    #expect(status.count == 1 && status[0].runs == 1 && status[0].lastCall == step.record.lastCall)
    #expect(status[0].nextScheduleTime == Self.time("2026-05-04T12:20:00Z"))
  }

  @Test func `after a restart the newest missed run is run and the others are counted`() {
    var board = ScheduleBoard()
    let kept = ScheduleBoard.Record(expression: "*/10 * * * * UTC", cursor: noon)
    let begun = board.follow([function()], kept: [Self.key: kept], isStart: true, at: Self.time("2026-05-04T12:45:00Z"))
    #expect(begun.changed.isEmpty)
    let step = due(&board, "12:45:00")
    #expect(step?.run == Self.time("2026-05-04T12:40:00Z") && step?.record.missed == 3)
    #expect(step?.record.lastMissed == Self.time("2026-05-04T12:30:00Z"))
    #expect(step?.notes == [.missed(3, isMore: false, why: "no server ran at their time")])
  }

  @Test func `a run that is dealt with is not run again, whatever the clock says`() {
    var board = ScheduleBoard()
    let kept = ScheduleBoard.Record(expression: "*/10 * * * * UTC", cursor: Self.time("2026-05-04T12:10:00Z"))
    _ = board.follow([function()], kept: [Self.key: kept], isStart: true, at: noon)
    #expect(due(&board, "12:10:00") == nil && due(&board, "12:19:00") == nil)
    #expect(due(&board, "12:20:00")?.run == Self.time("2026-05-04T12:20:00Z"))
  }

  @Test func `at most 100 missed runs are counted, and the newest time is still run`() {
    var board = ScheduleBoard()
    let kept = ScheduleBoard.Record(expression: "@every 1s UTC", cursor: noon)
    _ = board.follow([function("@every 1s")], kept: [Self.key: kept], isStart: true, at: noon)
    let step = due(&board, "13:00:00.5")
    #expect(step?.run == Self.time("2026-05-04T13:00:00Z") && step?.record.missed == 100)
    #expect(step?.notes == [.missed(100, isMore: true, why: "no server ran at their time")])
    #expect(step?.record.cursor == Self.time("2026-05-04T13:00:00Z"))
  }

  @Test func `startingDeadline makes a late run a missed one`() {
    var board = ScheduleBoard()
    let late = function { $0.startingDeadline = .seconds(60) }
    let kept = ScheduleBoard.Record(expression: "*/10 * * * * UTC", cursor: noon)
    _ = board.follow([late], kept: [Self.key: kept], isStart: true, at: noon)
    let step = due(&board, "12:12:00")
    #expect(step?.run == nil && step?.record.missed == 1 && step?.record.runs == 0)
    #expect(step?.record.lastMissed == Self.time("2026-05-04T12:10:00Z"))
    if let step { board.settle(step) }
    #expect(due(&board, "12:20:59")?.run == Self.time("2026-05-04T12:20:00Z"))
  }

  @Test func `Forbid leaves a run out while the one before is open, and Allow does not`() {
    for policy in ConcurrencyPolicy.allCases {
      var board = ScheduleBoard()
      _ = board.follow([function { $0.concurrencyPolicy = policy }], at: noon)
      guard let first = due(&board, "12:10:00"), let call = first.record.lastCall else {
        return #expect(Bool(false), "nothing is due")
      }
      board.settle(first)
      let second = due(&board, "12:20:00", open: [call])
      #expect((second?.run == nil) == (policy == .forbid))
      #expect(second?.record.skipped == (policy == .forbid ? 1 : 0))
      #expect(second?.record.cursor == Self.time("2026-05-04T12:20:00Z") && second?.record.missed == 0)
      if let second { board.settle(second) }
      #expect(due(&board, "12:30:00")?.run != nil, "once it is over, runs go on")
    }
  }

  @Test func `a run the queue does not take is tried again, and is missed once the next one is due`() {
    var board = ScheduleBoard()
    _ = board.follow([function()], at: noon)
    guard let step = due(&board, "12:10:00") else { return #expect(Bool(false), "nothing is due") }
    board.failed(step, why: "the queue is full", at: Self.time("2026-05-04T12:10:00Z"))
    #expect(due(&board, "12:10:00.9") == nil)
    let again = due(&board, "12:10:01")
    #expect(again?.run == step.run && again?.record == step.record, "nothing counts twice")
    if let again { board.failed(again, why: "the queue is full", at: Self.time("2026-05-04T12:10:01Z")) }
    let later = due(&board, "12:20:00")
    #expect(later?.run == Self.time("2026-05-04T12:20:00Z"))
    #expect(later?.notes == [.missed(1, isMore: false, why: "the queue is full")])
  }

  @Test func `times that pass while it is suspended are not missed`() {
    var board = ScheduleBoard()
    _ = board.follow([function()], at: noon)
    let halted = board.follow([function { $0.suspend = true }], at: Self.time("2026-05-04T12:05:00Z"))
    #expect(halted.changed[Self.key]?.suspended == true)
    #expect(due(&board, "13:00:00") == nil && board.statuses(of: "default/f").first?.suspended == true)
    // Resumed while no server ran.
    var next = ScheduleBoard()
    let resumed = next.follow(
      [function()], kept: halted.changed, isStart: true, at: Self.time("2026-05-04T14:01:00Z"))
    #expect(resumed.changed[Self.key]?.cursor == Self.time("2026-05-04T14:01:00Z"))
    #expect(due(&next, "14:09:59") == nil)
    let step = due(&next, "14:10:00")
    #expect(step?.run != nil && step?.record.missed == 0)
  }

  @Test func `another expression or zone begins anew and keeps its counts`() {
    for changed in [function("5 * * * *"), function { $0.timeZone = "Europe/Berlin" }] {
      var board = ScheduleBoard()
      _ = board.follow([function()], at: noon)
      if let step = due(&board, "12:10:00") { board.settle(step) }
      let now = Self.time("2026-05-04T13:07:00Z")
      let begun = board.follow([changed], at: now)
      #expect(begun.changed[Self.key]?.cursor == now && begun.changed[Self.key]?.runs == 1)
      #expect(due(&board, "13:07:00") == nil)
    }
  }

  @Test func `a spec that changes while a run is written keeps what the change began`() {
    var board = ScheduleBoard()
    _ = board.follow([function()], at: noon)
    guard let step = due(&board, "12:10:00") else { return #expect(Bool(false), "nothing is due") }
    let now = Self.time("2026-05-04T12:10:30Z")
    _ = board.follow([function("@hourly")], at: now)
    #expect(due(&board, "13:00:00") == nil, "it is still being written")
    board.settle(step)
    #expect(board.lines[Self.key]?.record.cursor == now && board.lines[Self.key]?.record.runs == 1)
    #expect(due(&board, "13:00:00")?.run == Self.time("2026-05-04T13:00:00Z"))
  }

  @Test func `a schedule begins when a revision serves, and goes with its function`() {
    var board = ScheduleBoard()
    #expect(board.follow([function(serves: false)], at: noon).changed.isEmpty)
    #expect(due(&board, "13:00:00") == nil)
    let begin = Self.time("2026-05-04T13:00:30Z")
    #expect(board.follow([function()], at: begin).changed[Self.key]?.cursor == begin)
    #expect(board.follow([], at: begin).gone == [Self.key])
    #expect(due(&board, "15:00:00") == nil && board.statuses(of: "default/f").isEmpty)
    // What was kept of a function that is gone goes too.
    let kept = ScheduleBoard.Record(expression: "x", cursor: noon)
    #expect(board.follow([], kept: [Self.key: kept], isStart: true, at: begin).gone == [Self.key])
  }

  @Test func `many that are due come in parts, each once`() {
    var board = ScheduleBoard()
    let functions = (0..<500).map { index in
      var function = function("@every 1s")
      function.name = "f\(index)"
      function.uid = "u\(index)"
      return function
    }
    _ = board.follow(functions, at: noon)
    let now = noon.advanced(milliseconds: 1000)
    var seen: Set<ScheduleBoard.Key> = []
    while true {
      let steps = board.due(now, atMost: Limits.scheduledAtOnce, isOpen: { _ in false })
      guard !steps.isEmpty else { break }
      #expect(steps.count <= Limits.scheduledAtOnce)
      for step in steps { #expect(seen.insert(step.key).inserted) }
      for step in steps { board.settle(step) }
    }
    #expect(seen.count == 500)
  }

  @Test func `the call id of a run is the same each time, an allowed one, and another for any other run`() {
    let one = ScheduleService.callID(Self.key, noon)
    #expect(one == ScheduleService.callID(Self.key, noon) && one.utf8.count <= 64)
    #expect(one.hasPrefix("schedule-") && one.hasSuffix("-\(noon.milliseconds / 1000)"))
    let others = [
      ScheduleService.callID(Self.key, noon.advanced(milliseconds: 1000)),
      ScheduleService.callID(.init(namespace: "default", function: "f", uid: "v", name: "default"), noon),
      ScheduleService.callID(.init(namespace: "default", function: "f", uid: "u", name: "other"), noon),
    ]
    #expect(Set(others + [one]).count == 4)
  }
}
