import ArgumentParser
import ClusterAPI
import ClusterModel

/// `apus describe KIND NAME…`.
struct Describe: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show everything about an object, and what to do next.",
    discussion: """
      Example:
        apus describe function greet
        apus describe pod greet-00001-x7k2p
        apus describe node worker-1 -o json
      """)

  @Argument(help: ArgumentHelp("A kind and names, or KIND/NAME.", valueName: "kind name"))
  var words: [String]

  @OptionGroup var namespace: NamespaceOption

  @Option(name: .shortAndLong, help: "table, json or yaml (the object and its events).")
  var output: OutputFormat = .table

  @OptionGroup var server: ServerOptions

  func run() async throws {
    let (kind, names) = try KindArgument.split(words)
    guard !names.isEmpty else {
      throw Failure.usage(
        "which \(kind.singular)?", next: "`apus describe \(kind.singular) NAME`; `apus get \(kind.plural)` lists them.")
    }
    let cluster = try server.connect()
    let scope = namespace.namespace ?? cluster.namespace
    for (index, name) in names.enumerated() {
      if index > 0 { Terminal.print("") }
      let object = try await cluster.object(kind, name, in: scope)
      let events = try await events(of: kind, name, in: scope, cluster)
      if output.structured {
        let tree = try events.map { try JSONValue(encoding: $0) }
        Terminal.emit(output.text(of: JSONText.list([object] + tree)))
      } else {
        Terminal.emit(try await text(kind, object, events, scope, cluster))
      }
    }
  }

  private func text(
    _ kind: ResourceKind, _ object: JSONValue, _ events: [Event], _ scope: String, _ cluster: ClusterConnection
  ) async throws -> String {
    let now = Timestamp.now()
    switch kind {
    case .function:
      let function = try object.decoded(as: Function.self)
      let name = function.metadata.name
      return FunctionDescription(
        function: function, revisions: try await cluster.list(of: Revision.self, in: scope, labels: .function(name)),
        pods: try await cluster.list(of: Pod.self, in: scope, labels: .function(name)), events: events,
        url: cluster.url(of: name, in: scope)
      ).text(now: now)
    case .pod:
      let pod = try object.decoded(as: Pod.self)
      return PodDescription(pod: pod, events: events, firstCall: try await ColdCall.first(of: pod, cluster))
        .text(now: now)
    case .node:
      let node = try object.decoded(as: Node.self)
      let pods = try await cluster.list(of: Pod.self, in: nil).filter { $0.spec.nodeName == node.metadata.name }
      return NodeDescription(node: node, pods: pods, events: events).text(now: now)
    case .namespace, .secret, .event, .revision:
      return ObjectDescription(kind: kind, object: object, events: events).text(now: now)
    }
  }

  /// What happened to the object; for a function, to its revisions and pods too.
  private func events(
    of kind: ResourceKind, _ name: String, in scope: String, _ cluster: ClusterConnection
  ) async throws -> [Event] {
    let all = try await cluster.list(of: Event.self, in: kind.namespaced ? scope : nil)
    return all.filter { event in
      let about = event.involvedObject
      if about.kind == kind.rawValue, about.name == name { return true }
      guard kind == .function, about.kind == "Pod" || about.kind == "Revision" else { return false }
      return ObjectDescription.belongs(about.name, to: name)
    }
  }
}

/// The text for kinds without a form of their own: their fields as YAML, and their events.
struct ObjectDescription {
  /// The kind.
  let kind: ResourceKind
  /// The object.
  let object: JSONValue
  /// What happened to it.
  let events: [Event]

  /// The text at a moment.
  func text(now: Timestamp) -> String {
    var text = Description()
    text.add("Name", object.at(path: "metadata.name")?.stringValue)
    text.add("Namespace", object.at(path: "metadata.namespace")?.stringValue)
    let created = object.at(path: "metadata.creationTimestamp")?.stringValue.flatMap(Timestamp.init)
    text.add("Created", Description.moment(created, now: now))
    if kind == .secret {
      let lengths = object["lengths"]?.objectValue ?? [:]
      text.section("Keys", lengths.keys.sorted().map { "\(Text.visible($0))  \(lengths[$0]?.intValue ?? 0) bytes" })
    } else {
      for part in ["spec", "status", "involvedObject", "reason", "message", "type", "count"] {
        guard let value = object[part] else { continue }
        text.section(
          part.prefix(1).uppercased() + part.dropFirst(),
          YAMLText.document(value).split(separator: "\n").map(String.init))
      }
    }
    text.events(events, now: now)
    return text.text
  }

  /// Whether a pod's or revision's name (`NAME-00001…`) is made from a function's.
  static func belongs(_ name: String, to function: String) -> Bool {
    guard name.hasPrefix(function + "-") else { return false }
    let parts = name.dropFirst(function.count + 1).split(separator: "-", omittingEmptySubsequences: false)
    guard let number = parts.first, parts.count <= 2 else { return false }
    return number.count >= 5 && number.allSatisfy(\.isNumber)
  }
}
