import ClusterModel
import ImageStore

extension PodCommand {
  /// The command of an image: its own, with what the function puts in place of it.
  static func ofImage(
    _ spec: FunctionSpec, _ image: ImageConfig, ours: [String: String]
  ) -> (arguments: [String], environment: [String]) {
    let entrypoint = spec.command ?? image.entrypoint
    // As everywhere: arguments of the image belong to its own entrypoint.
    let arguments = entrypoint + (spec.args ?? (spec.command == nil ? image.command : []))
    // Where the root is read-only, /tmp is the place that takes writes.
    var variables = [
      "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/tmp", "TMPDIR": "/tmp",
    ]
    for variable in image.environment {
      guard let equals = variable.firstIndex(of: "=") else { continue }
      variables[String(variable[..<equals])] = String(variable[variable.index(after: equals)...])
    }
    variables.merge(spec.env ?? [:]) { _, own in own }
    variables.merge(ours.filter { !["HOME", "TMPDIR"].contains($0.key) }) { _, ours in ours }
    return (arguments, variables.keys.sorted().map { "\($0)=\(variables[$0] ?? "")" })
  }
}
