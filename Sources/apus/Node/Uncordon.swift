import ArgumentParser

/// `apus uncordon NODE…`.
struct Uncordon: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Let nodes take pods again.", discussion: "Example:\n  apus uncordon worker-1")

  @Argument(help: "Names of nodes.") var nodes: [String]
  @OptionGroup var server: ServerOptions

  func run() async throws {
    let cluster = try server.connect()
    for node in nodes {
      try await Cordon.set(false, node, cluster)
      Terminal.print("uncordoned \(node)")
    }
  }
}
