import ArgumentParser
import ClusterModel

/// `apus secret list`.
struct SecretList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List secrets: their keys and lengths, never values.",
    discussion: "Example:\n  apus secret list -A")

  @OptionGroup var namespace: NamespaceOption
  @Flag(name: [.customShort("A"), .long], help: "Every namespace.") var allNamespaces = false
  @Option(name: .shortAndLong, help: "table, json or yaml.") var output: OutputFormat = .table
  @OptionGroup var server: ServerOptions

  func run() async throws {
    let cluster = try server.connect()
    let items = try await cluster.list(.secret, in: allNamespaces ? nil : (namespace.namespace ?? cluster.namespace))
    guard !output.structured else { return Terminal.emit(output.text(of: JSONText.list(items))) }
    guard !items.isEmpty else { return Terminal.note("no secrets") }
    Terminal.emit(SecretList.table(items, now: .now(), namespaces: allNamespaces).text(wide: output == .wide))
  }

  /// Secrets as a table.
  static func table(_ items: [JSONValue], now: Timestamp, namespaces: Bool) -> TextTable {
    let head = namespaces ? ["NAMESPACE"] : []
    return TextTable(
      columns: (head + ["NAME", "KEYS", "AGE"]).map { TextTable.Column($0) },
      rows: items.map { item in
        let lengths = item["lengths"]?.objectValue ?? [:]
        let created = item.at(path: "metadata.creationTimestamp")?.stringValue.flatMap(Timestamp.init)
        let keys = lengths.keys.sorted().map { "\($0) (\(lengths[$0]?.intValue ?? 0) B)" }.joined(separator: ", ")
        let place = namespaces ? [item.at(path: "metadata.namespace")?.stringValue ?? ""] : []
        return place + [
          item.at(path: "metadata.name")?.stringValue ?? "", keys.isEmpty ? "-" : keys,
          created.map { Figures.age(from: $0, to: now) } ?? "-",
        ]
      })
  }
}
