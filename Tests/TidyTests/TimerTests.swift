import Foundation
import Testing

/// Sleeps and repeating timers of the daemons, each with its name: nothing else on these paths may wait on time.
@Suite("Timers")
struct TimerTests {
  /// File → how many waits it may hold, and what they are.
  static let named: [String: (count: Int, why: String)] = [
    "Sources/ControlPlane/ControlPlane.swift": (1, "collection of history and packages"),
    "Sources/ControlPlane/Calls/CallService+Running.swift": (
      2, "tick: calls whose wait is over, results whose time is; pause before an end is written again"
    ),
    "Sources/ControlPlane/Schedules/ScheduleService.swift": (1, "tick: scheduled runs whose time came"),
    "Sources/ControlPlane/Orchestration/Orchestrator.swift": (
      2,
      "tick: losses, deadlines, back-off; changes of pods gather before lists and sums are written, of a crowd longer"
    ),
    "Sources/ControlPlane/API/Sessions/OneShot.swift": (1, "deadline of a session's second stream"),
    "Sources/WorkerAgent/Agent/Waits.swift": (1, "the worker's waits, each named there"),
    "gateway/Sources/Gateway/Activation/ActivationSender.swift": (1, "back-off towards the control plane"),
    "gateway/Sources/Gateway/Reporting/AccessLog.swift": (1, "records gather, and back-off towards the log service"),
    "gateway/Sources/Gateway/Reporting/UsageReporter.swift": (1, "the report of each second"),
    "gateway/Sources/Gateway/Routing/RouteFollower.swift": (1, "back-off of the route feed"),
    "gateway/Sources/Gateway/Routing/RouteTable.swift": (1, "deadline of the first snapshot"),
    "gateway/Sources/Gateway/Server/GatewayServer.swift": (1, "deadline of draining at shutdown"),
  ]

  static let waits = [
    "Task.sleep", "usleep(", "nanosleep(", " sleep(", "scheduleRepeated", "makeTimerSource", "AsyncTimerSequence",
  ]

  @Test("every wait on time in gateway, worker and control plane is in the table")
  func table() {
    var found: [String: Int] = [:]
    let folders = ["gateway/Sources/Gateway", "Sources/WorkerAgent", "Sources/ControlPlane"]
    for file in SourceTree.swiftFiles(folders) {
      for (index, line) in file.lines.enumerated() where !line.trimmingCharacters(in: .whitespaces).hasPrefix("//") {
        guard Self.waits.contains(where: line.contains) else { continue }
        found[file.path, default: 0] += 1
        let allowed = Self.named[file.path]?.count ?? 0
        #expect(found[file.path, default: 0] <= allowed, "\(file.path):\(index + 1): an unnamed wait: \(line)")
      }
    }
    for (path, entry) in Self.named {
      #expect(found[path] == entry.count, "\(path): the table says \(entry.count): \(entry.why)")
    }
  }
}
