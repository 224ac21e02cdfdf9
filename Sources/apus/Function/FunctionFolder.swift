import ClusterModel
import FoundationEssentials
import FunctionPackage

/// A folder with a function: its manifest read and checked.
struct FunctionFolder {
  /// The folder's absolute path.
  let path: String
  /// The folder as it was typed, for messages.
  let shown: String
  /// The function's name.
  let name: String
  /// The namespace the manifest names, if it does.
  let namespace: String?
  /// How the function is started.
  let runtime: Runtime
  /// The manifest as read, with variables of the command line put in.
  let manifest: JSONValue

  /// Reads a folder; throws a `Failure` that names file and line of every fault.
  static func read(_ typed: String, env: [String: String]) throws(Failure) -> FunctionFolder {
    let (path, shown) = try locate(typed)
    let file = shown == "." ? "function.yaml" : shown + "/function.yaml"
    guard FileManager.default.fileExists(atPath: path + "/function.yaml") else {
      throw Failure(
        "\(shown)/ has no function.yaml", next: "`apus new NAME --runtime python` makes a folder that has one.")
    }
    let manifest = withVariables(try checked(file, folder: path, shown: shown), env)
    let runtime = manifest.at(path: "spec.runtime")?.stringValue.flatMap(Runtime.init(rawValue:))
    guard let name = manifest.at(path: "metadata.name")?.stringValue, let runtime else {
      throw Failure("\(shown)/function.yaml has no metadata.name or no spec.runtime")
    }
    return FunctionFolder(
      path: path, shown: shown, name: name, namespace: manifest.at(path: "metadata.namespace")?.stringValue,
      runtime: runtime, manifest: manifest)
  }

  /// The folder a typed word means; a path to a function.yaml means its folder.
  private static func locate(_ typed: String) throws(Failure) -> (String, String) {
    var typed = typed
    if typed == "function.yaml" { typed = "." }
    if typed.hasSuffix("/function.yaml") { typed = String(typed.dropLast("/function.yaml".count)) }
    while typed.count > 1, typed.hasSuffix("/") { typed.removeLast() }
    let path = DataFolder.absolute(typed)
    switch PathKind(path) {
    case .folder: return (path, typed)
    case .file, .other: throw Failure("\(typed) is no folder", next: "Give the folder that holds function.yaml.")
    case nil: break
    }
    throw Failure(missing(typed, path: path))
  }

  /// `no such folder: gret. Did you mean greet/ ?`
  private static func missing(_ typed: String, path: String) -> String {
    let slash = path.lastIndex(of: "/") ?? path.startIndex
    let (parent, name) = (String(path[..<slash]), String(path[path.index(after: slash)...]))
    let siblings = (try? FileManager.default.contentsOfDirectory(atPath: parent.isEmpty ? "/" : parent)) ?? []
    let functions = siblings.filter { FileManager.default.fileExists(atPath: "\(parent)/\($0)/function.yaml") }
    guard let near = Suggestion.nearest(to: name, in: functions) else { return "no such folder: \(typed)" }
    let prefix = typed.lastIndex(of: "/").map { String(typed[...$0]) } ?? ""
    return "no such folder: \(typed). Did you mean \(prefix)\(near)/ ?"
  }

  /// The manifest's values, with every fault named by file and line.
  private static func checked(_ file: String, folder: String, shown: String) throws(Failure) -> JSONValue {
    let manifest: Manifest
    let function: Function
    do {
      (function, manifest) = try ManifestReader.readFunction(file)
    } catch {
      throw Failure(error.description)
    }
    guard let (fault, next) = missingFile(of: function.spec, folder: folder, shown: shown) else {
      return manifest.value
    }
    throw Failure(manifest.located(fault), next: next)
  }

  /// The fault of a manifest that starts a file the folder does not hold.
  private static func missingFile(of spec: FunctionSpec, folder: String, shown: String) -> (Fault, String?)? {
    let (path, written): (String, String)
    switch spec.runtime {
    case .python, .node:
      guard let handler = spec.handler, let name = handler.split(separator: ":").first else { return nil }
      (path, written) = ("spec.handler", String(name))
    case .binary, .exec:
      guard let command = spec.command?.first, command.hasPrefix("./") else { return nil }
      (path, written) = ("spec.command", command)
    case .lambda:
      guard let program = LambdaProgram.file(of: spec, folder: folder) else { return nil }
      (path, written) = ("spec.command", program)
    case .swift: (path, written) = ("spec.runtime", "Package.swift")
    case .image: return nil
    }
    let file = written.hasPrefix("./") ? String(written.dropFirst(2)) : written
    let whole = "\(folder)/\(file)"
    let programs: Set<Runtime> = [.binary, .exec, .lambda]
    if PathKind(whole) != .file {
      let makefile = programs.contains(spec.runtime) && PathKind(folder + "/Makefile") == .file
      return (
        Fault(path: path, message: "\(written) is not in \(shown)/"),
        makefile ? "Build it first: make -C \(shown)" : nil
      )
    }
    if programs.contains(spec.runtime), !FileManager.default.isExecutableFile(atPath: whole) {
      return (Fault(path: path, message: "\(written) is not executable"), "chmod +x \(shown)/\(file)")
    }
    return nil
  }

  private static func withVariables(_ manifest: JSONValue, _ env: [String: String]) -> JSONValue {
    guard !env.isEmpty else { return manifest }
    let patch = JSONValue.object(["spec": .object(["env": .object(env.mapValues { .string($0) })])])
    return manifest.merging(patch: patch)
  }
}
