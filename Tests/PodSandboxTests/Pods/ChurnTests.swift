import ClusterTestSupport
import Foundation
import PodSandbox
import Testing

/// Many starts and stops: what makes pods does not grow, and does not get slower.
@Suite("Churn", .timeLimit(.minutes(60)))
struct SoakChurnTests {
  /// Pods of a run.
  private static var pods: Int { Soak.runs ? 50_000 : 200 }
  /// Pods under way at once.
  private static let atOnce = 8

  @Test(arguments: [PodWay.stem, .zygote])
  func `the spawner and its zygotes stay as large and as quick as they were`(_ way: PodWay) async throws {
    let folder = try TemporaryFolder()
    chmod(folder.path, 0o755)
    try "import os\nos._exit(0)\n".write(toFile: "\(folder.path)/handler.py", atomically: true, encoding: .utf8)
    let root = try await TestRoots.path(.exec)
    try await withPodHost { host in
      let zygote = way == .zygote ? try await host.zygote() : nil
      let listener = try ListeningSocket()
      var spec = SandboxSpec(
        slot: 0, hostname: "churn", rootPath: root, codePath: folder.path,
        arguments: way == .zygote ? [] : ["/bin/true"], environment: ["HOME": "/tmp"])
      if let zygote { spec.stem.origin = .zygote(zygote) }
      spec.stem.listener = listener.fd
      var took: [Double] = []
      // The first hundred fill what is filled once.
      try await Self.round(host, spec, count: 100)
      let before = Self.figures(host.spawner.processID)
      let maker = try zygote.map { _ in try Self.child(of: host.spawner.processID) }
      let makerBefore = maker.map(Self.figures)
      let rounds = 20
      for _ in 0..<rounds {
        let start = ContinuousClock.now
        try await Self.round(host, spec, count: Self.pods / rounds / 2)
        took.append((ContinuousClock.now - start) / .milliseconds(1) / Double(Self.pods / rounds / 2))
      }
      let after = Self.figures(host.spawner.processID)
      print(
        "churn \(way): \(Self.pods / 2) pods, ms a pod first \(took.first ?? 0) last \(took.last ?? 0),",
        "KiB and descriptors of spawner \(before) → \(after)")
      // The spawner tells of an end before it closes what it had of the pod; at either moment a few may be open yet.
      #expect(
        await eventually { Self.figures(host.spawner.processID).descriptors <= before.descriptors },
        "\(before) → \(after)")
      #expect(after.kibibytes < before.kibibytes + 1024, "the spawner grew from \(before) to \(after)")
      if let maker, let makerBefore {
        let makerAfter = Self.figures(maker)
        print("churn \(way): KiB and descriptors of the zygote \(makerBefore) → \(makerAfter)")
        #expect(await eventually { Self.figures(maker).descriptors <= makerBefore.descriptors }, "\(makerAfter)")
        #expect(makerAfter.kibibytes < makerBefore.kibibytes + 1024, "\(makerBefore) → \(makerAfter)")
      }
      if Soak.runs {
        let (first, last) = (took.prefix(5).sorted()[2], took.suffix(5).sorted()[2])
        #expect(last < first * 2, "a pod took \(first) ms, then \(last) ms")
      }
      withExtendedLifetime(listener) {}
    }
  }

  /// Makes, binds and buries pods, some at once, each in a slot of its own.
  private static func round(_ host: PodHost, _ spec: SandboxSpec, count: Int) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for lane in 0..<atOnce {
        // Taken again once the pod that had it is gone, as a worker does: there are fewer slots than pods of a soak.
        let slot = TestSlots.take()
        group.addTask {
          for _ in 0..<max(1, count / atOnce) {
            var spec = spec
            spec.stem.slot = slot
            spec.stem.hostUID = HostUsers.current.user(ofSlot: spec.stem.slot)
            let stem = try await host.spawner.prepare(spec.stem)
            let sandbox = try host.spawner.bind(stem, spec.bind)
            let exit = try await host.exit(of: sandbox)
            #expect(exit.exitCode == 0, "lane \(lane): \(exit.reason)")
          }
        }
      }
      try await group.waitForAll()
    }
  }

  /// The one child of a process.
  private static func child(of process: pid_t) throws -> pid_t {
    let children = try String(contentsOfFile: "/proc/\(process)/task/\(process)/children", encoding: .utf8)
    return try #require(pid_t(children.trimmingCharacters(in: .whitespacesAndNewlines)), "\(children)")
  }

  private static func figures(_ number: pid_t) -> (kibibytes: Int, descriptors: Int) {
    let process = "/proc/\(number)"
    let status = (try? String(contentsOfFile: "\(process)/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
    let descriptors = (try? FileManager.default.contentsOfDirectory(atPath: "\(process)/fd").count) ?? -1
    return (Int(line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first ?? "") ?? -1, descriptors)
  }
}
