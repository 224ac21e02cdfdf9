import ArgumentParser
import ClusterAPI
import ClusterModel

/// `apus cordon NODE…`.
struct Cordon: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Let nodes take no new pods; what runs there goes on.",
    discussion: "Example:\n  apus cordon worker-1")

  @Argument(help: "Names of nodes.") var nodes: [String]
  @OptionGroup var server: ServerOptions

  func run() async throws {
    let cluster = try server.connect()
    for node in nodes {
      try await Cordon.set(true, node, cluster)
      Terminal.print("cordoned   \(node)")
    }
  }

  /// Sets whether a node takes new pods.
  static func set(_ cordoned: Bool, _ node: String, _ cluster: ClusterConnection) async throws {
    let patch = JSONValue.object(["spec": .object(["unschedulable": .bool(cordoned)])])
    do {
      _ = try await cluster.resources.patch(.node, namespace: nil, name: node, subresource: nil, patch: patch)
    } catch {
      guard error.code == 404 else { throw error }
      throw await cluster.missing(.node, node, in: cluster.namespace)
    }
  }
}
