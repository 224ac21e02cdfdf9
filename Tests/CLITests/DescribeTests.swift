import ClusterModel
import Foundation
import Testing

@testable import apus

@Suite struct DescribeTests {
  @Test func `describe function shows all of it and what to do next`() throws {
    let function = try Samples.function()
    let description = FunctionDescription(
      function: function, revisions: [Samples.revision(1, of: function), Samples.revision(2, of: function)],
      pods: [Samples.pod()],
      events: [Samples.event("RevisionServes", "greet-00002 takes the traffic", about: .function, "greet")],
      url: "http://127.0.0.1:8080/function/greet")
    try Golden.expect(description.text(now: Samples.now), "describe-function.txt")
  }

  @Test func `describe function shows its schedules, when they run next and what they missed`() throws {
    func schedule(_ name: String, _ cron: String, suspend: Bool = false) -> ScheduleSpec {
      ScheduleSpec(
        name: name, cron: cron, timeZone: "Europe/Berlin", concurrencyPolicy: .forbid, suspend: suspend)
    }
    let function = try Samples.function { function in
      function.spec.schedule = [schedule("nightly", "30 2 * * *"), schedule("off", "@hourly", suspend: true)]
      var status = ScheduleStatus(name: "nightly")
      status.lastScheduleTime = Samples.time("2026-11-21T01:30:00Z")
      status.lastCall = "schedule-9f86d081884c7d65-1795224600"
      status.nextScheduleTime = Samples.time("2026-11-22T01:30:00Z")
      status.runs = 3
      status.missed = 1
      function.status?.schedules = [status]
    }
    let text = FunctionDescription(function: function, revisions: [], pods: [], events: [], url: nil)
      .text(now: Samples.now)
    let start = try #require(text.range(of: "Schedule:")?.lowerBound)
    let lines = text[start...].split(separator: "\n").prefix(4).joined(separator: "\n")
    #expect(
      lines == """
        Schedule:
          NAME     CRON        ZONE           NEXT                  LAST     RUNS  MISSED  SKIPPED  LAST CALL
          nightly  30 2 * * *  Europe/Berlin  2026-11-22T01:30:00Z  40m ago  3     1       0        schedule-9f86d081884c7d65-1795224600
          off      @hourly     Europe/Berlin  suspended             -        0     0       0        -
        """)
  }

  @Test func `describe pod shows its life, and its last lines with no escape in them`() throws {
    let record = #"{"call":"c-1\u001b","fields":{"queue_ms":8.41,"first_byte_ms":11.02,"cold":true}}"#
    let call = try #require(ColdCall(record: Array(record.utf8)))
    let text = PodDescription(pod: Samples.pod(life: .gone), events: [], firstCall: call).text(now: Samples.now)
    #expect(!text.contains("\u{1B}"))
    try Golden.expect(text, "describe-pod.txt")
  }

  @Test func `what a caller saw of a start is told as far as its record goes`() throws {
    let cut = try #require(ColdCall(record: Array(#"{"call":"c","fields":{"queue_ms":3}}"#.utf8)))
    #expect(cut.sentence == "3.0ms waiting (call c)")
    for broken in ["", "{}", #"{"call":"c"}"#, #"{"call":"c","fields":{"queue_ms":"3"}}"#] {
      #expect(ColdCall(record: Array(broken.utf8)) == nil)
    }
  }

  @Test func `describe node shows what it gives and what runs there`() throws {
    var node = Node(metadata: ObjectMeta(name: "worker-2"))
    node.spec.unschedulable = true
    var status = NodeStatus()
    status.capacity = ["cpu": "2", "memory": "8Gi"]
    var detail = NodeDetail(session: "joined")
    detail.allocatedMilliCPU = 1500
    detail.allocatedMemory = 134_217_728
    detail.pods = 1
    detail.stems = ["python/default": 2, "exec": 4]
    detail.isolation = ["namespaces: mnt, pid", "seccomp: filters available"]
    status.apus = detail
    node.status = status
    let text = NodeDescription(node: node, pods: [Samples.pod()], events: []).text(now: Samples.now)
    try Golden.expect(text, "describe-node.txt")
  }

  @Test func `advice follows from the state`() throws {
    let bare = try Samples.function { $0.spec.source = nil }
    #expect(FunctionAdvice.steps(for: bare, pods: []).first?.hasPrefix("apus deploy FOLDER") == true)
    let failed = try Samples.function { function in
      function.status?.conditions = [
        Condition(type: "Ready", status: false, reason: "RevisionFailed", message: "x", at: Samples.now)
      ]
    }
    let steps = FunctionAdvice.steps(for: failed, pods: [])
    #expect(steps[0].hasPrefix("apus logs greet"))
    #expect(steps[1].hasPrefix("apus deploy FOLDER"))
    let kept = try Samples.function { function in
      function.status?.conditions = failed.status?.conditions ?? []
      function.status?.servingRevision = "greet-00001"
    }
    #expect(FunctionAdvice.steps(for: kept, pods: []).last?.hasPrefix("apus rollback greet") == true)
    let fine = try Samples.function { $0.status?.figures?.errorCalls = [] }
    #expect(
      FunctionAdvice.steps(for: fine, pods: []) == [
        "apus invoke greet -d TEXT         call it; apus logs greet shows what it writes"
      ])
  }

  @Test func `a pod's name belongs to the function it is made from, and to no other`() {
    #expect(ObjectDescription.belongs("greet-00001-x7k2p", to: "greet"))
    #expect(ObjectDescription.belongs("greet-00001", to: "greet"))
    #expect(!ObjectDescription.belongs("greet-more-00001-x7k2p", to: "greet"))
    #expect(!ObjectDescription.belongs("greet", to: "greet"))
  }
}
