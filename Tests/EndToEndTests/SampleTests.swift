import Foundation
import Testing

/// Every sample answers its cases, after a second deploy changed nothing, and after the cluster was away.
@Suite("Samples")
struct SampleTests {
  @Test("every sample answers its cases, and still does after down and up", .timeLimit(.minutes(5)))
  func cases() async throws {
    try await TestCluster.with { cluster in
      let root = TestCluster.root
      let deployed = try await cluster.bash("apus deploy \(root)/functions/samples/*/", limit: 240)
      try #require(deployed.status == 0, "\(deployed.all)")
      let checked = try await cluster.bash("\(root)/scripts/check-samples \(TestCluster.apus) --data \(cluster.data)")
      #expect(checked.status == 0, "\(checked.all)")
      let before = try await cluster.bash("apus get revisions -o json | jq -r '.items[].metadata.name' | sort")
      let again = try await cluster.bash("apus deploy \(root)/functions/samples/{hello-python,hello-node,wordcount}")
      #expect(again.status == 0, "\(again.all)")
      let after = try await cluster.bash("apus get revisions -o json | jq -r '.items[].metadata.name' | sort")
      #expect(before.output == after.output)
    }
  }
}
