import Testing

@testable import apus

@Suite("Restart schedule")
struct RestartScheduleTests {
  @Test func `a process that dies at its start waits longer each time, up to five seconds`() {
    var schedule = RestartSchedule()
    let waits = (0..<11).map { _ in schedule.ended(afterRunning: 30) }
    #expect(waits == [100, 100, 100, 100, 200, 400, 800, 1600, 3200, 5000, 5000])
  }

  @Test(arguments: [600, 2500] as [Int64])
  func `a process that is killed after it served is back at once, however often`(_ run: Int64) {
    var schedule = RestartSchedule()
    for _ in 0..<100 { #expect(schedule.ended(afterRunning: run) == 100) }
  }

  @Test func `a run takes back as many failures as it had half seconds`() {
    var schedule = RestartSchedule()
    for _ in 0..<8 { _ = schedule.ended(afterRunning: 0) }
    #expect(schedule.ended(afterRunning: 1500) == 400)
    #expect(schedule.ended(afterRunning: .max) == 100)
  }
}
