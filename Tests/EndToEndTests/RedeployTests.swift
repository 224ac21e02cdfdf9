import Foundation
import Testing

/// What a second deploy of the same folder changes.
@Suite("Redeploy")
struct RedeployTests {
  @Test("a change of scale alone is neither a new package nor a new revision", .timeLimit(.minutes(5)))
  func scaleOnly() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      let code = "def handle(event, context):\n    return event.text\n"
      let first = try await cluster.deployPython("echo", code)
      try #require(first.status == 0, "\(first.all)")
      let second = try await cluster.deployPython("echo", code, spec: "  scale: {max: 3}\n")
      #expect(second.status == 0 && second.output.contains("echo-00001"), "\(second.all)")
      #expect(!second.output.contains("uploaded"), "\(second.all)")
      let revisions = try await cluster.bash("apus get revisions -o json | jq '.items | length'")
      #expect(revisions.output == "1\n")
      let most = try await cluster.bash("apus get function echo -o json | jq .spec.scale.max")
      #expect(most.output == "3\n", "\(most.all)")
    }
  }
}
