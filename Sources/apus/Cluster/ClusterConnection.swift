import ClusterAPI
import ClusterModel

/// The services of one cluster, as a command uses them.
struct ClusterConnection: Sendable {
  /// Objects.
  let resources: any ResourceService
  /// Packages.
  let artifacts: any Artifacts
  /// Logs.
  let logs: any LogQueries
  /// The server's own tables.
  let tables: any ServerTables
  /// Tokens for joining and for calls.
  let tokens: any ClusterTokens
  /// The API's URL.
  let api: String
  /// The gateway's URL without a slash at the end; nil when the kubeconfig names none.
  let gateway: String?
  /// The cluster's authority, PEM: a gateway may show a certificate of it.
  var authority = ""
  /// Asynchronous calls; nil where there are none.
  var calls: (any CallCatalog)?
  /// The namespace commands work in when none is given.
  let namespace: String
}

/// Lists as the server renders them, so that `apus get` and kubectl show the same columns.
protocol ServerTables: Sendable {
  /// A kind's table.
  func table(
    _ kind: ResourceKind, namespace: String?, name: String?, options: ListOptions
  ) async throws(APIStatus) -> JSONValue
  /// A kind's table as it changes: watch events whose objects are tables of the changed rows.
  func watchTable(
    _ kind: ResourceKind, namespace: String?, options: ListOptions, after resourceVersion: String?
  ) async throws(APIStatus) -> AsyncThrowingStream<JSONValue, any Error>
}

/// Tokens with which members join, and with which functions are called.
protocol ClusterTokens: Sendable {
  /// A new token that is good for a while.
  func createJoinToken(_ role: MemberRole, life: TimeSpan) async throws(APIStatus) -> String
  /// A new token for one function of a namespace, or (nil) all of them; a nil life is for ever.
  func createInvokeToken(namespace: String, function: String?, life: TimeSpan?) async throws(APIStatus) -> String
  /// All tokens, oldest first.
  func tokens() async throws(APIStatus) -> [TokenSummary]
  /// Ends a token.
  func revokeToken(_ id: String) async throws(APIStatus)
}

extension ClusterConnection {
  /// A whole table, page by page.
  func table(_ kind: ResourceKind, in namespace: String?, _ options: ListOptions) async throws -> ServerTable {
    var options = options
    let scope = kind.namespaced ? namespace : nil
    var whole = ServerTable(try await tables.table(kind, namespace: scope, name: nil, options: options))
    while let token = whole.continueToken {
      options.continueToken = token
      let page = ServerTable(try await tables.table(kind, namespace: scope, name: nil, options: options))
      whole.rows += page.rows
      whole.continueToken = page.continueToken
    }
    return whole
  }

  /// The URL under which a function is called, now or later.
  func url(of function: String, in namespace: String, isAsync: Bool = false) -> String? {
    let label = namespace == "default" ? function : "\(function).\(namespace)"
    return gateway.map { "\($0)/\(isAsync ? "async-function" : "function")/\(label)" }
  }

  /// A function, or a failure that suggests the name that was probably meant.
  func function(_ name: String, in namespace: String) async throws -> Function {
    try await object(.function, name, in: namespace).decoded(as: Function.self)
  }

  /// An object, or a failure that suggests the name that was probably meant.
  func object(_ kind: ResourceKind, _ name: String, in namespace: String) async throws -> JSONValue {
    do {
      return try await resources.get(kind, namespace: kind.namespaced ? namespace : nil, name: name)
    } catch {
      guard error.code == 404 else { throw error }
      throw await missing(kind, name, in: namespace)
    }
  }

  /// The failure for a name that does not exist.
  func missing(_ kind: ResourceKind, _ name: String, in namespace: String) async -> Failure {
    let scope = kind.namespaced ? namespace : nil
    let items = (try? await resources.list(kind, namespace: scope, options: ListOptions()).items) ?? []
    let names = items.compactMap { $0.at(path: "metadata.name")?.stringValue }
    let place = kind.namespaced ? " in namespace \"\(namespace)\"" : ""
    if let near = Suggestion.nearest(to: name, in: names) {
      return Failure("no \(kind.singular) \"\(name)\"\(place). Did you mean \"\(near)\"?")
    }
    let next =
      names.isEmpty && kind == .function
      ? "There are none yet; `apus new NAME --runtime python` makes one."
      : "`apus get \(kind.plural)` lists them."
    return Failure("no \(kind.singular) \"\(name)\"\(place)", next: next)
  }

  /// Every object of a kind that a label selector takes, page by page.
  func list(_ kind: ResourceKind, in namespace: String?, labels: LabelSelector = .everything) async throws
    -> [JSONValue]
  {
    var options = ListOptions()
    options.labels = labels
    var items: [JSONValue] = []
    repeat {
      let page = try await resources.list(kind, namespace: kind.namespaced ? namespace : nil, options: options)
      items += page.items
      options.continueToken = page.continueToken
    } while options.continueToken != nil
    return items
  }

  /// Typed objects; those that cannot be read are left out.
  func list<R: Resource>(
    of type: R.Type, in namespace: String?, labels: LabelSelector = .everything
  ) async throws -> [R] {
    try await list(R.kind, in: namespace, labels: labels).compactMap { try? $0.decoded(as: R.self) }
  }
}

extension LabelSelector {
  /// Objects that belong to a function.
  static func function(_ name: String) -> LabelSelector { LabelSelector(terms: [.equals(LabelKey.function, name)]) }
  /// Objects that belong to a revision.
  static func revision(_ name: String) -> LabelSelector { LabelSelector(terms: [.equals(LabelKey.revision, name)]) }
}

extension FieldSelector {
  /// The one object of a name.
  static func name(_ name: String) -> FieldSelector {
    (try? FieldSelector(parsing: "metadata.name=\(name)", supported: ["metadata.name"])) ?? .everything
  }
}
