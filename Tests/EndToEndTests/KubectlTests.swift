import Foundation
import Testing

/// The real kubectl with the kubeconfig that the server wrote.
@Suite("kubectl")
struct KubectlTests {
  @Test("get, -o yaml, -w and logs work unmodified", .timeLimit(.minutes(5)))
  func kubectl() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      let code = "def handle(event, context):\n    context.log.info('seen', who=event.text)\n    return event.text\n"
      let deployed = try await cluster.deployPython("echo", code)
      try #require(deployed.status == 0, "\(deployed.all)")
      let kubectl = "kubectl --kubeconfig \(cluster.data)/kubeconfig --cache-dir \(cluster.work)/kube"
      let wide = try await cluster.bash("\(kubectl) get functions,pods,nodes -o wide")
      #expect(wide.status == 0 && wide.output.contains("function.apus.dev/echo"), "\(wide.all)")
      #expect(wide.output.contains("RUNTIME") && wide.output.contains("node/worker-1"), "\(wide.all)")
      let yaml = try await cluster.bash("\(kubectl) get functions echo -o yaml")
      #expect(yaml.output.contains("servingRevision: echo-00001"), "\(yaml.all)")
      let call = try await cluster.bash("curl -s -d Ada \(cluster.url("echo"))")
      #expect(call.output == "Ada", "\(call.all)")
      let watched = "\(cluster.work)/watched"
      let seen = "[ $(grep -c echo-00001- \(watched) 2>/dev/null) -ge"
      let watch = try await cluster.bash(
        """
        timeout 60 \(kubectl) get pods -w > \(watched) & watch=$!
        for try in $(seq 300); do \(seen) 1 ] && break; sleep 0.1; done
        apus scale echo --min 2 --max 3 > /dev/null
        for try in $(seq 300); do \(seen) 2 ] && break; sleep 0.1; done
        kill $watch; \(seen) 2 ]
        """, limit: 90)
      #expect(watch.status == 0, "\(watch.all)")
      let logs = try await cluster.bash("\(kubectl) logs $(\(kubectl) get pods -o name | head -1)")
      #expect(logs.status == 0, "\(logs.all)")
      let all = try await cluster.bash(
        "for p in $(\(kubectl) get pods -o name); do \(kubectl) logs $p; done")
      #expect(all.output.contains("seen"), "\(all.all)")
      let missing = try await cluster.bash("\(kubectl) get functions nope")
      #expect(missing.errors.contains("NotFound"), "\(missing.all)")
    }
  }
}
