import ClusterTestSupport
import Foundation
import Testing

/// What handlers do that a runner must outlive.
@Suite("Runners")
struct RunnerTests {
  /// Garbage that prints when it is collected, which happens in the midst of another line.
  private static let finalizers = """
    import gc

    class Loud:
        def __init__(self):
            self.me = self

        def __del__(self):
            print('collected')

    def handle(event, context):
        gc.set_threshold(5, 2, 2)
        for number in range(300):
            Loud()
            print('line', number)
        gc.collect()
        return 'done'
    """

  private static let thrower = """
    let held;
    export async function handle(event) {
      if (event.text === 'hold') return new Promise((resolve) => { held = resolve; });
      if (event.text === 'release') return held('held on'), 'released';
      throw Object.create(null);
    }
    """

  @Test("a finalizer that prints while a line is written stops nothing, and no line is lost", .timeLimit(.minutes(2)))
  func finalizers() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      let deployed = try await cluster.deployPython("loud", Self.finalizers)
      #expect(deployed.status == 0, "\(deployed.all)")
      let said = try await cluster.apus("invoke", "loud", "-d", "x", limit: 30)
      #expect(said.output.hasPrefix("done"), "\(said.all)")
      @Sendable func count(_ query: String) async throws -> String {
        try await cluster.apus("logs", query, "--stats", "count() as n", "-o", "json").output
      }
      let counted = try await eventually(within: .seconds(10)) {
        try await count("function:loud msg:collected*").contains("\"n\":300")
      }
      #expect(counted)
      #expect(try await count("function:loud msg:line*").contains("\"n\":300"))
    }
  }

  @Test("what cannot be shown is thrown in one call, and another goes on", .timeLimit(.minutes(2)))
  func thrown() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      try cluster.write("odd/handler.mjs", Self.thrower)
      try cluster.write(
        "odd/function.yaml", TestCluster.manifest("odd", "runtime: node\n  handler: handler.mjs\n  concurrency: 4"))
      let deployed = try await cluster.apus("deploy", "odd")
      #expect(deployed.status == 0, "\(deployed.all)")
      let said = try await cluster.bash(
        """
        curl -s -d hold \(cluster.url("odd")) >held & release() { until curl -s -d release \(cluster.url("odd")) | grep -q released; do :; done; }
        curl -s -w ' %{http_code}\\n' -d throw \(cluster.url("odd"))
        release
        wait; cat held
        """)
      #expect(said.output.contains("what was thrown cannot be shown") && said.output.contains(" 500"), "\(said.all)")
      #expect(said.output.hasSuffix("held on"), "\(said.all)")
    }
  }
}
