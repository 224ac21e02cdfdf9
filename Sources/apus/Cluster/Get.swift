import ArgumentParser
import ClusterAPI
import ClusterModel

/// `apus get KIND [NAME…]`.
struct Get: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List objects: functions, pods, nodes, revisions, events, secrets, namespaces.",
    discussion: """
      Example:
        apus get functions
        apus get pods -o wide -l apus.dev/function=greet
        apus get functions greet -w
        apus get all -A -o json | jq '.items[].metadata.name'
      """)

  @Argument(help: ArgumentHelp("A kind, several with commas, `all`, or KIND/NAME.", valueName: "kind"))
  var kind: String

  @Argument(help: ArgumentHelp("Names; none lists all.", valueName: "name"))
  var names: [String] = []

  @OptionGroup var namespace: NamespaceOption

  @Flag(name: [.customShort("A"), .long], help: "Every namespace.")
  var allNamespaces = false

  @Option(
    name: [.customShort("l"), .customLong("selector")],
    help: ArgumentHelp("Labels that must match.", valueName: "a=b,c!=d"))
  var selector: String?

  @Flag(name: [.customShort("w"), .long], help: "Go on with every change.")
  var watch = false

  @Option(name: .shortAndLong, help: "table, wide, json or yaml.")
  var output: OutputFormat = .table

  @OptionGroup var server: ServerOptions

  func run() async throws {
    let (kinds, names) = try targets()
    var options = ListOptions()
    if let selector {
      do { options.labels = try LabelSelector(parsing: selector) } catch { throw Failure.usage("--selector: \(error)") }
    }
    let cluster = try server.connect()
    let scope = allNamespaces ? nil : (namespace.namespace ?? cluster.namespace)
    if watch {
      guard kinds.count == 1, names.count <= 1, !output.structured else {
        throw Failure.usage("-w takes one kind, at most one name, and -o table or wide")
      }
      if let name = names.first {
        _ = try await cluster.object(kinds[0], name, in: scope ?? cluster.namespace)
        options.fields = .name(name)
      }
      try await follow(kinds[0], in: scope, options, cluster)
    } else if output.structured {
      try await document(kinds, names, in: scope, options, cluster)
    } else {
      try await tables(kinds, names, in: scope, options, cluster)
    }
  }

  private func targets() throws -> ([ResourceKind], [String]) {
    if kind.contains("/") {
      let (only, all) = try KindArgument.split([kind] + names)
      return ([only], all)
    }
    let kinds = try KindArgument.kinds(kind)
    guard names.isEmpty || kinds.count == 1 else { throw Failure.usage("names go with one kind, not with \(kind)") }
    guard names.isEmpty || !allNamespaces else { throw Failure.usage("a name cannot be asked for in every namespace") }
    return (kinds, names)
  }

  /// `-o json` and `-o yaml`: the object of one name, else a List.
  private func document(
    _ kinds: [ResourceKind], _ names: [String], in scope: String?, _ options: ListOptions, _ cluster: ClusterConnection
  ) async throws {
    var items: [JSONValue] = []
    for name in names { items.append(try await cluster.object(kinds[0], name, in: scope ?? cluster.namespace)) }
    if names.isEmpty {
      for kind in kinds { items += try await cluster.list(kind, in: scope, labels: options.labels) }
    }
    Terminal.emit(output.text(of: names.count == 1 ? items[0] : JSONText.list(items)))
  }

  private func tables(
    _ kinds: [ResourceKind], _ names: [String], in scope: String?, _ options: ListOptions, _ cluster: ClusterConnection
  ) async throws {
    var first = true
    for kind in kinds {
      let table = try await Progress.during("asking \(cluster.api)") { _ in
        try await self.table(kind, names, in: scope, options, cluster)
      }
      if table.rows.isEmpty {
        if kinds.count == 1 { Terminal.note(Get.nothing(kind, in: scope)) }
        continue
      }
      if !first { Terminal.print("") }
      first = false
      Terminal.emit(table.text(namespaces: allNamespaces && kind.namespaced).text(wide: output == .wide))
    }
  }

  private func table(
    _ kind: ResourceKind, _ names: [String], in scope: String?, _ options: ListOptions, _ cluster: ClusterConnection
  ) async throws -> ServerTable {
    guard !names.isEmpty else { return try await cluster.table(kind, in: scope, options) }
    var whole: ServerTable?
    for name in names {
      var one = options
      one.fields = .name(name)
      let table = try await cluster.table(kind, in: scope, one)
      guard !table.rows.isEmpty else { throw await cluster.missing(kind, name, in: scope ?? cluster.namespace) }
      if whole == nil { whole = table } else { whole?.rows += table.rows }
    }
    return whole ?? ServerTable(.object([:]))
  }

  private func follow(
    _ kind: ResourceKind, in scope: String?, _ options: ListOptions, _ cluster: ClusterConnection
  ) async throws {
    let style = Terminal.outputIsTerminal ? WatchedTable.Style.redraw(lines: Terminal.size?.lines ?? 24) : .lines
    let listed = try await cluster.table(kind, in: scope, options)
    var shown = WatchedTable(
      listed, style: style, namespaces: allNamespaces && kind.namespaced, wide: output == .wide)
    Terminal.emit(shown.start())
    var version = listed.resourceVersion
    var failures = 0
    while true {
      do {
        let stream = try await cluster.tables.watchTable(
          kind, namespace: kind.namespaced ? scope : nil, options: options, after: version)
        for try await event in stream {
          let change = ServerTable(event["object"] ?? .null)
          Terminal.emit(shown.apply(type: event["type"]?.stringValue ?? "", change))
          version = change.resourceVersion ?? version
          failures = 0
        }
      } catch let status as APIStatus where [410, 503].contains(status.code) && failures < Self.reconnects {
        // The server was restarted, or forgot so old a version: what there is now is listed and followed anew.
        failures += 1
        try await Task.sleep(for: .milliseconds(Self.pause))
        if let again = try? await cluster.table(kind, in: scope, options) {
          version = again.resourceVersion
          Terminal.emit(shown.replace(again))
        }
      }
    }
  }

  /// Times in a row a broken watch is opened again.
  static let reconnects = 60
  /// Time before a broken watch is opened again, milliseconds.
  static let pause: Int64 = 1000

  private static func nothing(_ kind: ResourceKind, in scope: String?) -> String {
    guard kind.namespaced else { return "no \(kind.plural)" }
    return scope.map { "no \(kind.plural) in namespace \"\($0)\"" } ?? "no \(kind.plural)"
  }
}
