import ClusterModel
import FoundationEssentials
import FunctionPackage

/// A packed function, ready to upload.
struct StagedPackage {
  /// The package file.
  let path: String
  /// `sha256:HEX`.
  let digest: String
  /// Packed size in bytes.
  let size: Int64
  /// Files in it.
  let files: Int
  /// The folder that holds the package and the copy it was made from; removed when done.
  let workspace: String
}

/// Makes a function's package: vendors dependencies or builds, in a copy of the folder, then packs.
struct PackageStaging {
  /// Names of the folder that never come into a copy for vendoring.
  static let notCopied: Set<String> = [".git", ".build", "node_modules", "__pycache__", ".venv"]

  /// The function.
  let source: FunctionFolder

  /// Builds and packs; the caller calls `cleanUp` when the package was uploaded.
  func packed() async throws -> StagedPackage {
    let workspace = try Self.makeWorkspace()
    do {
      let content = try await content(in: workspace)
      return try await Progress.during("packing \(source.name)") { _ in try pack(content, workspace) }
    } catch {
      try? FileManager.default.removeItem(atPath: workspace)
      throw error
    }
  }

  private func pack(_ content: String, _ workspace: String) throws -> StagedPackage {
    let packed: PackedArchive
    do {
      packed = try PackageArchive.pack(
        folder: content, ignoring: ["/function.yaml"] + (content == source.path ? [] : PythonModules.takenBack),
        to: workspace + "/package.tar.gz")
    } catch {
      throw Failure("\(source.shown)/ cannot be packed: \(error)")
    }
    return StagedPackage(
      path: packed.path, digest: packed.digest, size: packed.packed, files: packed.files, workspace: workspace)
  }

  /// Removes what packing needed.
  func cleanUp(_ package: StagedPackage) { try? FileManager.default.removeItem(atPath: package.workspace) }

  /// The folder to pack.
  private func content(in workspace: String) async throws -> String {
    switch source.runtime {
    case .python: return try await Vendoring.python(source, workspace)
    case .node: return try await Vendoring.node(source, workspace)
    case .swift: return try await SwiftBuild(source: source).staged(in: workspace)
    case .binary, .exec, .image: return source.path
    case .lambda: return try await Vendoring.python(source, workspace)
    }
  }

  private static func makeWorkspace() throws(Failure) -> String {
    let path = "\(FileManager.default.temporaryDirectory.path())/apus-deploy-\(UUIDv7.make())"
    do {
      try FileManager.default.createDirectory(
        atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
      throw Failure("\(path) cannot be made: \(error)")
    }
    return path
  }

  /// Copies the folder without what is rebuilt anyway.
  static func copy(_ source: FunctionFolder, to target: String) throws(Failure) {
    do {
      let manager = FileManager.default
      try manager.createDirectory(atPath: target, withIntermediateDirectories: true)
      for name in try manager.contentsOfDirectory(atPath: source.path) where !notCopied.contains(name) {
        try manager.copyItem(atPath: "\(source.path)/\(name)", toPath: "\(target)/\(name)")
      }
    } catch {
      throw Failure("\(source.shown)/ cannot be copied for vendoring: \(error)")
    }
  }
}

/// Brings dependencies into a copy of the folder.
enum Vendoring {
  /// Python: requirements.txt → vendor/, and what is imported compiled, by the interpreter that will run the function.
  static func python(_ source: FunctionFolder, _ workspace: String) async throws -> String {
    let requirements = FileManager.default.contents(atPath: source.path + "/requirements.txt") ?? Data()
    let areRequired = hasRequirements(String(decoding: requirements, as: UTF8.self))
    guard areRequired || PythonModules.areImported(by: source) else { return source.path }
    let copy = workspace + "/content"
    try PackageStaging.copy(source, to: copy)
    if areRequired { try await installRequirements(source, copy) }
    await PythonModules.compile(copy, of: source.name)
    return copy
  }

  private static func installRequirements(_ source: FunctionFolder, _ copy: String) async throws {
    try await BuildStep(
      what: "vendoring \(source.name) (pip)", executable: "/usr/bin/python3",
      arguments: [
        "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--target", "vendor",
        "--only-binary=:all:", "--no-compile", "-r", "requirements.txt",
      ], folder: copy, variables: ["PIP_ROOT_USER_ACTION": "ignore"]
    ).run()
  }

  /// Whether a requirements.txt names anything.
  static func hasRequirements(_ text: String) -> Bool {
    text.split(whereSeparator: \.isNewline).contains { line in
      let first = line.first { !$0.isWhitespace }
      return first != nil && first != "#"
    }
  }

  /// Node: the dependencies of package.json → node_modules/, without running their scripts.
  static func node(_ source: FunctionFolder, _ workspace: String) async throws -> String {
    let file = source.path + "/package.json"
    guard let bytes = FileManager.default.contents(atPath: file) else { return source.path }
    let manifest: JSONValue
    do { manifest = try JSONValue(bytes: bytes) } catch {
      throw Failure("\(source.shown)/package.json is not JSON: \(error)")
    }
    guard let dependencies = manifest["dependencies"]?.objectValue, !dependencies.isEmpty else { return source.path }
    let copy = workspace + "/content"
    try PackageStaging.copy(source, to: copy)
    let local = outside(dependencies, folder: source.path)
    if !local.isEmpty {
      // `file:../x` was written for the folder itself; the copy needs the whole path.
      let moved = manifest.merging(patch: .object(["dependencies": .object(local)]))
      do { try moved.encoded().write(to: URL(filePath: copy + "/package.json")) } catch {
        throw Failure("\(copy)/package.json cannot be written: \(error)")
      }
    }
    let locked = local.isEmpty && FileManager.default.fileExists(atPath: copy + "/package-lock.json")
    try await BuildStep(
      what: "vendoring \(source.name) (npm)", executable: "npm",
      arguments: [
        locked ? "ci" : "install", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund", "--install-links",
        "--no-package-lock", "--loglevel=error",
      ].filter { !locked || $0 != "--no-package-lock" }, folder: copy
    ).run()
    return copy
  }

  /// Dependencies on folders beside the function, with their paths made absolute.
  static func outside(_ dependencies: [String: JSONValue], folder: String) -> [String: JSONValue] {
    dependencies.compactMapValues { value in
      guard let text = value.stringValue, text.hasPrefix("file:"), !text.hasPrefix("file:/") else { return nil }
      let path = DataFolder.absolute(folder + "/" + text.dropFirst(5))
      return path.hasPrefix(folder + "/") ? nil : .string("file:" + path)
    }
  }
}

/// Builds a Swift function: a static executable named `function`.
struct SwiftBuild {
  /// The function.
  let source: FunctionFolder

  /// Builds in the folder (its .build is kept for the next time) and answers a folder with what to pack.
  func staged(in workspace: String) async throws -> String {
    let variables = ["APUS_RUNTIME_SWIFT": try InstalledFiles.locate().swiftLibrary]
    let binaries: String
    do {
      binaries = try await built(isStatic: true, variables)
    } catch let failure as Failure where failure.message.contains("link") {
      // What it uses is not there as a static library: then with the system's, which costs a cold start 1.5 ms.
      binaries = try await built(isStatic: false, variables)
    }
    let product = try product(in: binaries)
    let content = workspace + "/content"
    do {
      try FileManager.default.createDirectory(atPath: content, withIntermediateDirectories: true)
      try FileManager.default.copyItem(atPath: "\(binaries)/\(product)", toPath: content + "/function")
      try FileManager.default.copyItem(atPath: source.path + "/function.yaml", toPath: content + "/function.yaml")
    } catch {
      throw Failure("the executable of \(source.name) cannot be copied: \(error)")
    }
    return content
  }

  /// Builds it and answers the folder of the products. Static: nothing is looked up, loaded or moved when a pod starts.
  private func built(isStatic: Bool, _ variables: [String: String]) async throws -> String {
    let common = ["build", "-c", "release", "--static-swift-stdlib", "--scratch-path", ".build", "-Xlinker", "-s"]
    let arguments = common + (isStatic ? ["-Xswiftc", "-static-executable"] : [])
    try await BuildStep(
      what: "building \(source.name) (swift)", executable: "swift", arguments: arguments, folder: source.path,
      variables: variables
    ).run()
    let shown = try await BuildStep(
      what: "finding what was built of \(source.name)", executable: "swift", arguments: arguments + ["--show-bin-path"],
      folder: source.path, variables: variables
    ).run()
    return shown.split(separator: "\n").last.map(String.init) ?? ""
  }

  /// The executable that was built: the one of the function's name, else the only one.
  private func product(in binaries: String) throws(Failure) -> String {
    let names = ((try? FileManager.default.contentsOfDirectory(atPath: binaries)) ?? []).filter { name in
      guard !name.contains("."), !name.hasSuffix("-tool") else { return false }
      let path = "\(binaries)/\(name)"
      return PathKind(path) == .file && FileManager.default.isExecutableFile(atPath: path)
    }
    if names.contains(source.name) { return source.name }
    if names.count == 1, let only = names.first { return only }
    throw Failure(
      names.isEmpty
        ? "\(source.shown)/Package.swift builds no executable"
        : "\(source.shown)/Package.swift builds several executables: \(names.sorted().joined(separator: ", "))",
      next: "Give it one executable product, or name one \(source.name).")
  }
}
