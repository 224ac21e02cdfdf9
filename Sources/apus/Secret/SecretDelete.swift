import ArgumentParser
import ClusterAPI
import ClusterModel

/// `apus secret delete NAME…`.
struct SecretDelete: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "delete", abstract: "Delete secrets.", discussion: "Example:\n  apus secret delete db")

  @Argument(help: "Names.") var names: [String]
  @OptionGroup var namespace: NamespaceOption
  @OptionGroup var server: ServerOptions

  func run() async throws {
    let cluster = try server.connect()
    let scope = namespace.namespace ?? cluster.namespace
    for name in names {
      do {
        _ = try await cluster.resources.delete(.secret, namespace: scope, name: name, uid: nil)
      } catch {
        guard error.code == 404 else { throw error }
        throw await cluster.missing(.secret, name, in: scope)
      }
      Terminal.print("deleted    secret/\(name)")
    }
  }
}
