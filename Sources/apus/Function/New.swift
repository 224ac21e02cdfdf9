import ArgumentParser
import ClusterModel
import FoundationEssentials

extension Runtime: ExpressibleByArgument {}

/// `apus new NAME --runtime R`.
struct New: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make the folder of a new function from a template.",
    discussion: """
      Example:
        apus new greet --runtime python
        apus deploy greet
      """)

  @Argument(help: "The function's name; the folder of that name is made here. A path makes it there.")
  var name: String

  @Option(name: .shortAndLong, help: "python, node, swift, binary, exec or lambda.")
  var runtime: Runtime

  @Flag(help: "Write over files that are there already.")
  var force = false

  func run() async throws {
    var path = name
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    let function = String(path.split(separator: "/").last ?? "")
    if let problem = Schema.Rule.functionName.check(function) { throw Failure.usage(problem) }
    if runtime == .image {
      throw Failure.usage(
        "a container image needs no folder", next: "apus deploy --image REGISTRY/NAME:TAG \(function)")
    }
    let template = Template(folder: try InstalledFiles.locate().template(runtime), function: function)
    let written = try template.write(to: DataFolder.absolute(path), shown: path, force: force)
    Terminal.print("created \(path)/ (\(written.joined(separator: ", ")))")
    Terminal.note("Try:  apus deploy \(path)")
  }
}

/// The files a new function starts from.
struct Template {
  /// What stands for the function's name in a template's files and file names.
  static let placeholder = "{{name}}"
  /// What a template's folder may hold but a new function does not get.
  static let leftOut: Set<String> = [".build", "node_modules", "__pycache__", "vendor", ".swiftpm", "Package.resolved"]

  /// The template's folder.
  let folder: String
  /// The new function's name.
  let function: String

  /// Copies the files with the name put in; answers their paths, `function.yaml` first.
  func write(to target: String, shown: String, force: Bool) throws(Failure) -> [String] {
    let files = try self.files()
    let manager = FileManager.default
    let present = files.map(named).filter { manager.fileExists(atPath: "\(target)/\($0)") }
    if !force, !present.isEmpty {
      throw Failure(
        "\(shown)/ has \(present.joined(separator: ", ")) already", next: "Choose another name, or --force.")
    }
    do {
      for file in files {
        let (source, destination) = ("\(folder)/\(file)", "\(target)/\(named(file))")
        let parent = destination.prefix(upTo: destination.lastIndex(of: "/") ?? destination.endIndex)
        try manager.createDirectory(atPath: String(parent), withIntermediateDirectories: true)
        let bytes = manager.contents(atPath: source) ?? Data()
        try filled(bytes, file: file).write(to: URL(filePath: destination))
        if manager.isExecutableFile(atPath: source) {
          try manager.setAttributes([.posixPermissions: 0o755], ofItemAtPath: destination)
        }
      }
    } catch {
      throw Failure("\(shown)/ cannot be written: \(error)")
    }
    return files.map(named)
  }

  private func files() throws(Failure) -> [String] {
    guard let paths = try? FileManager.default.subpathsOfDirectory(atPath: folder) else {
      throw Failure("the template folder \(folder) is missing", next: "Run `make up` in the clone, or set APUS_SHARE.")
    }
    let files = paths.filter { path in
      !path.split(separator: "/").contains { Self.leftOut.contains(String($0)) }
        && PathKind("\(folder)/\(path)") == .file
    }
    guard !files.isEmpty else { throw Failure("the template folder \(folder) is empty") }
    let rank = ["function.yaml": 0, "README.md": 2]
    return files.sorted { (rank[$0] ?? 1, $0) < (rank[$1] ?? 1, $1) }
  }

  private func named(_ file: String) -> String { file.replacing(Self.placeholder, with: function) }

  /// The file's bytes with the name put in; files that are no UTF-8 text stay as they are.
  private func filled(_ bytes: Data, file: String) -> Data {
    guard let text = String(validating: bytes, as: UTF8.self) else { return bytes }
    var filled = text.replacing(Self.placeholder, with: function)
    if file == "function.yaml" { filled = Template.renamed(filled, to: function) }
    return Data(filled.utf8)
  }

  /// The manifest with the name under `metadata:` replaced.
  static func renamed(_ manifest: String, to function: String) -> String {
    var inMetadata = false
    let lines = manifest.split(separator: "\n", omittingEmptySubsequences: false).map { line -> String in
      if let first = line.first, first != " ", first != "#" { inMetadata = line.hasPrefix("metadata:") }
      guard inMetadata, line.hasPrefix("  name:") else { return String(line) }
      inMetadata = false
      return "  name: \(function)"
    }
    return lines.joined(separator: "\n")
  }
}
