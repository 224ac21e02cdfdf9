import ArgumentParser
import ClusterAPI
import ClusterModel

/// `apus rollback NAME`.
struct Rollback: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Return a function to an earlier revision; its scale and schedule stay.",
    discussion: """
      Without --to: the newest revision before the serving one whose pods were ready; or, when the newest revision could
      not start, the one that serves, so that the function's spec is again what runs.

      Example:
        apus rollback greet
        apus rollback greet --to greet-00003
      """)

  @Argument(help: "The function's name.") var name: String

  @Option(help: ArgumentHelp("The revision, by name or number.", valueName: "revision"))
  var to: String?

  @Flag(help: "Do not wait until the revision serves.") var noWait = false
  @OptionGroup var namespace: NamespaceOption
  @OptionGroup var server: ServerOptions

  func run() async throws {
    let cluster = try server.connect()
    let scope = namespace.namespace ?? cluster.namespace
    let function = try await cluster.function(name, in: scope)
    let revisions = try await cluster.list(of: Revision.self, in: scope, labels: .function(name))
    let target = try Rollback.target(of: function, revisions, to: to)
    let written = try await FunctionWrite(cluster: cluster, namespace: scope).change(name) { object in
      object["spec"] = try Rollback.spec(of: target, over: object["spec"])
    }
    if noWait { return Terminal.print("rolled back \(name) to \(target.metadata.name)") }
    let rollout = Rollout(cluster: cluster, namespace: scope, function: written)
    Terminal.print(try await rollout.ready())
  }

  /// A revision's spec with what belongs to the function and not to its revisions: above all who may call it.
  static func spec(of target: Revision, over present: JSONValue?) throws -> JSONValue {
    // As it is written, so that nothing of it is lost that only a newer server knows.
    var spec = try JSONValue(encoding: target.spec.template)
    for kept in FunctionSpec.ownFields { spec[kept] = present?[kept] }
    return spec
  }

  /// The revision to return to.
  static func target(of function: Function, _ revisions: [Revision], to wanted: String?) throws(Failure) -> Revision {
    let name = function.metadata.name
    let sorted = revisions.sorted { $0.spec.number > $1.spec.number }
    if let wanted {
      if let found = sorted.first(where: { $0.metadata.name == wanted || String($0.spec.number) == wanted }) {
        return found
      }
      let near =
        Suggestion.nearest(to: wanted, in: sorted.map(\.metadata.name)).map { ". Did you mean \"\($0)\"?" } ?? ""
      throw Failure(
        "\(name) has no revision \"\(wanted)\"\(near)",
        next: sorted.isEmpty ? nil : "Revisions: \(sorted.map(\.metadata.name).joined(separator: ", ")).")
    }
    let serving = sorted.first { $0.metadata.name == function.status?.servingRevision }
    if let serving, serving.metadata.name != function.status?.latestRevision { return serving }
    let before = sorted.first { $0.status?.proven == true && $0.spec.number < serving?.spec.number ?? .max }
    guard let before else {
      throw Failure(
        "\(name) has no revision before \(serving?.metadata.name ?? "the first")",
        next: "`apus get revisions -l \(LabelKey.function)=\(name)` lists what is kept.")
    }
    return before
  }
}
