import ArgumentParser
import ClusterAPI
import ClusterModel

/// `apus drain NODE`.
struct Drain: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Cordon a node and end its pods; calls that run finish, others start elsewhere.",
    discussion: """
      The node stays cordoned: `apus uncordon NODE` lets it take pods again.

      Example:
        apus drain worker-3
      """)

  @Argument(help: "The node's name.") var node: String

  @Option(help: ArgumentHelp("How long to wait for its pods (default 15m).", valueName: "span"))
  var timeout: String = "15m"

  @OptionGroup var server: ServerOptions

  func validate() throws {
    guard TimeSpan(timeout) != nil else {
      throw ValidationError("--timeout: \"\(timeout)\" is not a duration; use 30s or 5m")
    }
  }

  func run() async throws {
    let cluster = try server.connect()
    let (node, patience) = (node, TimeSpan(timeout)?.milliseconds ?? 900_000)
    try await Cordon.set(true, node, cluster)
    Terminal.print("cordoned   \(node)")
    let pods = try await cluster.list(of: Pod.self, in: nil).filter {
      $0.spec.nodeName == node && $0.status.apus.life != .gone
    }
    for pod in pods where pod.status.apus.life != .draining {
      do {
        _ = try await cluster.resources.delete(
          .pod, namespace: pod.metadata.namespace, name: pod.metadata.name, uid: pod.metadata.uid)
      } catch {
        guard [404, 409].contains(error.code) else { throw error }
        // It ended by itself meanwhile.
        continue
      }
    }
    let ending = PodsEnding(cluster: cluster, namespace: nil, labels: .everything) { $0.spec.nodeName == node }
    try await Progress.during("draining \(node): \(Figures.count(pods.count, "pod")) left") { progress in
      try await ending.run(atMost: patience) { progress.say("draining \(node): \(Figures.count($0, "pod")) left") }
    }
    Terminal.print("drained    \(node)  \(Figures.count(pods.count, "pod")) ended")
  }
}
