import ArgumentParser
import ClusterAPI
import ClusterModel

/// `apus scale NAME N`.
struct Scale: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Set how many pods a function keeps, and how many it may have.",
    discussion: """
      `apus scale NAME N` keeps N pods ready without traffic (spec.scale.min) and raises the most to N if it was less;
      0 lets it scale to zero again.

      Example:
        apus scale greet 2
        apus scale greet --min 0 --max 50 --idle-after 5s
      """)

  @Argument(help: "The function's name.") var name: String
  @Argument(help: ArgumentHelp("Pods to keep.", valueName: "n")) var pods: Int?
  @Option(help: ArgumentHelp("Pods kept without traffic.", valueName: "n")) var min: Int?
  @Option(help: ArgumentHelp("Pods at most.", valueName: "n")) var max: Int?
  @Option(help: ArgumentHelp("How long an idle pod is kept.", valueName: "span")) var idleAfter: String?
  @OptionGroup var namespace: NamespaceOption
  @OptionGroup var server: ServerOptions

  func validate() throws {
    if let idleAfter, TimeSpan(idleAfter) == nil {
      throw ValidationError("--idle-after: \"\(idleAfter)\" is not a duration; use 500ms or 30s")
    }
    if pods == nil, min == nil, max == nil, idleAfter == nil {
      throw ValidationError("how many? `apus scale \(name) 2`, or --min and --max")
    }
    if pods != nil, min != nil { throw ValidationError("give N or --min, not both") }
    for number in [pods, min, max].compactMap({ $0 }) where number < 0 || number > Int(Limits.podsMaximum) {
      throw ValidationError("\(number) is out of range; use 0 to \(Limits.podsMaximum)")
    }
  }

  func run() async throws {
    let cluster = try server.connect()
    let scope = namespace.namespace ?? cluster.namespace
    var scale = Scale.changed(
      try await cluster.function(name, in: scope).spec.scale, least: pods ?? min, most: max)
    if let span = idleAfter.flatMap({ TimeSpan($0) }) { scale.idleAfter = span }
    let patch = JSONValue.object([
      "spec": .object([
        "scale": .object([
          "min": .int(Int64(scale.min)), "max": .int(Int64(scale.max)),
          "idleAfter": .string(scale.idleAfter.description),
        ])
      ])
    ])
    _ = try await cluster.resources.patch(.function, namespace: scope, name: name, subresource: nil, patch: patch)
    Terminal.print("scaled     \(name)  \(scale.min) to \(scale.max) pods, an idle one is kept \(scale.idleAfter)")
  }

  /// The scale with new bounds; a new least raises the most where that is not given itself.
  static func changed(_ scale: ScaleSpec, least: Int?, most: Int?) -> ScaleSpec {
    var changed = scale
    if let least { changed.min = least }
    changed.max = most ?? Swift.max(scale.max, changed.min)
    return changed
  }
}
