import Testing

@testable import apus

@Suite("Restart schedule")
struct RestartScheduleTests {
  @Test func `a process that dies at its start waits longer each time, up to five seconds`() {
    var schedule = RestartSchedule()
    let waits = (0..<11).map { _ in schedule.ended(afterRunning: 30) }
    #expect(waits == [100, 100, 100, 100, 200, 400, 800, 1600, 3200, 5000, 5000])
  }

  @Test func `a process that is killed every few seconds is back at once, however often`() {
    var schedule = RestartSchedule()
    for _ in 0..<100 { #expect(schedule.ended(afterRunning: 2500) == 100) }
  }

  @Test func `a run takes back as many failures as it had seconds`() {
    var schedule = RestartSchedule()
    for _ in 0..<8 { _ = schedule.ended(afterRunning: 0) }
    #expect(schedule.ended(afterRunning: 3000) == 400)
    #expect(schedule.ended(afterRunning: .max) == 100)
  }
}
