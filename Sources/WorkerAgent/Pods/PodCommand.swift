import ClusterAPI
import ClusterModel
import FoundationEssentials
import ImageStore

/// What is executed in a pod, and with what environment: the runner contract of functions/README.md.
struct PodCommand: Hashable, Sendable {
  /// The program, as a path inside the pod, and its arguments.
  var arguments: [String]
  /// `NAME=value`, ours after the function's own, so that ours win.
  var environment: [String]

  /// The command of an assignment on a node; `node` is the node's name.
  init(_ assignment: PodAssignment, node: String, image: ImageConfig? = nil) {
    let spec = assignment.spec.template
    if let image {
      (arguments, environment) = Self.ofImage(spec, image, ours: Self.variables(assignment, node: node))
      return
    }
    arguments = Self.arguments(of: spec)
    // Programs of the package are found before the system's.
    var variables = ["PATH": "/function:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"]
    variables.merge(spec.env ?? [:]) { _, own in own }
    let ours = Self.variables(assignment, node: node)
    variables.merge(ours) { _, ours in ours }
    environment = variables.keys.sorted().map { "\($0)=\(variables[$0] ?? "")" }
  }

  private static func arguments(of spec: FunctionSpec) -> [String] {
    switch spec.runtime {
    case .python: ["/usr/bin/python3", "-I", "-S", "/runtime/runner.py"]
    case .node: ["/usr/bin/node", "/runtime/runner.mjs"]
    case .swift: ["/function/function"]
    case .exec: ["/runtime/apus-exec-runner"]
    case .binary, .image: spec.command ?? []
    case .lambda: ["/runtime/apus-lambda-bridge"]
    }
  }

  private static func variables(_ assignment: PodAssignment, node: String) -> [String: String] {
    let spec = assignment.spec.template
    var variables = [
      "HOME": "/tmp", "TMPDIR": "/tmp", "PORT": "\(podPort)", "K_SERVICE": assignment.spec.function,
      "K_REVISION": assignment.revision, "K_CONFIGURATION": assignment.spec.function,
      "APUS_FUNCTION": assignment.spec.function, "APUS_REVISION": assignment.revision,
      "APUS_NAMESPACE": assignment.namespace, "APUS_POD": assignment.name, "APUS_NODE": node,
      "APUS_CONCURRENCY": "\(spec.concurrency)", "APUS_MAX_BODY": "\(spec.maxBody.value)",
      "APUS_TIMEOUT_MS": "\(spec.timeout.milliseconds)",
    ]
    if !spec.runtime.servesPort { variables["LISTEN_FDS"] = "1" }
    if let egress = spec.egress, egress != .none { variables["APUS_GATEWAY"] = PodCaller.url }
    if let handler = spec.handler { variables["APUS_HANDLER"] = handler }
    if spec.runtime == .lambda { variables["APUS_MEMORY_MIB"] = "\(spec.resources.memory.value >> 20)" }
    if spec.runtime == .exec || (spec.runtime == .lambda && spec.command != nil) {
      let command = JSONValue.array((spec.command ?? []).map(JSONValue.string))
      variables["APUS_COMMAND"] = String(decoding: command.encoded(), as: UTF8.self)
    }
    return variables
  }

  /// Where a function that serves `$PORT` listens, inside its own network namespace.
  static let podPort: UInt16 = 8080
}
