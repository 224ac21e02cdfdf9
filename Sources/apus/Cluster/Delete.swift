import ArgumentParser
import ClusterAPI
import ClusterModel

/// `apus delete NAME…` or `apus delete KIND NAME…`.
struct Delete: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Delete functions, or objects of another kind; running calls finish.",
    discussion: """
      New calls are answered 404 at once; calls that run go on up to the function's spec.timeout. The logs stay.

      Example:
        apus delete greet
        apus delete pod greet-00001-x7k2p
        apus delete namespace staging
      """)

  @Argument(help: ArgumentHelp("Names of functions; or a kind and names, or KIND/NAME.", valueName: "name"))
  var words: [String]

  @OptionGroup var namespace: NamespaceOption

  @Flag(help: "Do not wait for the pods of a deleted function to end.")
  var noWait = false

  @OptionGroup var server: ServerOptions

  /// How long the pods of a deleted function may take beyond their last call and its grace, milliseconds.
  static let patienceBeyond: Int64 = 10_000

  func run() async throws {
    let (kind, names) = try targets()
    let cluster = try server.connect()
    let scope = namespace.namespace ?? cluster.namespace
    for name in names {
      do {
        let last = try await cluster.resources.delete(
          kind, namespace: kind.namespaced ? scope : nil, name: name, uid: nil)
        if kind == .function, !noWait { try await pods(of: name, last, in: scope, cluster) }
      } catch let status as APIStatus where status.code == 404 && status.details?.name == name {
        throw await cluster.missing(kind, name, in: scope)
      }
      Terminal.print("deleted    \(kind == .function ? name : "\(kind.singular)/\(name)")")
    }
  }

  private func targets() throws(Failure) -> (ResourceKind, [String]) {
    let named = words.count > 1 && ResourceKind(named: words[0]) != nil
    guard named || words[0].contains("/") else { return (.function, words) }
    let (kind, names) = try KindArgument.split(words)
    return (kind, names)
  }

  /// Waits until the function's pods are gone, or the longest call and its grace are over.
  private func pods(of name: String, _ last: JSONValue, in scope: String, _ cluster: ClusterConnection) async throws {
    let spec = (try? last.decoded(as: Function.self))?.spec
    let longest = (spec?.timeout.milliseconds ?? 30_000) + (spec?.grace.milliseconds ?? 10_000)
    let wait = PodsEnding(cluster: cluster, namespace: scope, labels: .function(name)) { _ in true }
    try await Progress.during("running calls of \(name) finish") { progress in
      try await wait.run(atMost: longest + Self.patienceBeyond) { left in
        progress.say("running calls of \(name) finish: \(Figures.count(left, "pod")) left")
      }
    }
  }
}
