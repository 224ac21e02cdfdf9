import Foundation
import Testing

/// What is there after a cluster is what was there before it.
@Suite("Leftovers")
struct LeftoverTests {
  /// Processes, mounts, cgroups, namespaces and sockets that belong to one data folder or instance.
  private func trace(_ data: String, _ instances: [String]) async throws -> String {
    let names = ([data] + instances).joined(separator: "|")
    return try await Shell.bash(
      """
      pgrep -fa '\(data)' | grep -v 'bash -c' ; grep -E '\(names)' /proc/self/mountinfo
      find /sys/fs/cgroup -type d 2>/dev/null | grep -E '\(instances.joined(separator: "|"))'
      find /run/apus -type s 2>/dev/null | grep -E '\(instances.joined(separator: "|"))'
      exit 0
      """
    ).output
  }

  @Test(
    "apus down leaves no process, mount, cgroup or socket, also after kill -9 of everything", .timeLimit(.minutes(5)))
  func nothing() async throws {
    for violent in [false, true] {
      var data = ""
      var instances: [String] = []
      try await TestCluster.with { cluster in
        data = cluster.data
        let deployed = try await cluster.deployPython(
          "stay", "def handle(event, context):\n    return 'x'\n", spec: "  scale: {min: 3}\n")
        try #require(deployed.status == 0, "\(deployed.all)")
        let names = try await cluster.bash(
          "for w in 1 2; do printf %s \(data)/workers/worker-$w | sha256sum | cut -c1-8; done")
        instances = names.output.split(separator: "\n").map(String.init)
        let own = try await trace(data, instances)
        #expect(own.contains("apus-spawner") || own.contains("supervise"), "the trace finds a running cluster: \(own)")
        if violent {
          _ = try await cluster.bash(
            "pkill -9 -f 'apus supervise --data \(data)'; pkill -9 -f 'apus (server|worker).*\(data)'")
        }
      }
      let left = try await trace(data, instances)
      #expect(left.isEmpty, "left after \(violent ? "kill -9" : "down"): \(left)")
    }
  }
}
