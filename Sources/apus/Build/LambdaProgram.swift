import ClusterModel
import FoundationEssentials

/// What the folder of a lambda function starts with.
enum LambdaProgram {
  /// The file that must be there; nil when a program of the pod is started, or Python's own runtime client.
  ///
  /// Without a command that is `bootstrap`, as in Lambda's own packages. A folder without one whose requirements name
  /// awslambdaric, and whose handler is known, needs none: the bridge starts `python3 -m awslambdaric HANDLER`.
  static func file(of spec: FunctionSpec, folder: String) -> String? {
    if let command = spec.command?.first { return command.hasPrefix("./") ? command : nil }
    if PathKind(folder + "/bootstrap") != .file, spec.handler != nil, hasClient(folder) { return nil }
    return "bootstrap"
  }

  private static func hasClient(_ folder: String) -> Bool {
    if PathKind(folder + "/awslambdaric") == .folder || PathKind(folder + "/vendor/awslambdaric") == .folder {
      return true
    }
    let text = FileManager.default.contents(atPath: folder + "/requirements.txt") ?? Data()
    return String(decoding: text, as: UTF8.self).split(whereSeparator: \.isNewline).contains {
      $0.hasPrefix("awslambdaric")
    }
  }
}
