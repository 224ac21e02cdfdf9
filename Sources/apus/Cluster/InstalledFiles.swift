import ClusterModel
import FoundationEssentials
import Glibc

/// What was installed beside `apus`: templates, runners, the Swift runtime library, and its small C companions.
struct InstalledFiles: Hashable, Sendable {
  /// The folder that holds `functions/`.
  let share: String
  /// The folder of the executable itself.
  let binaries: String

  /// Finds the files: $APUS_SHARE, then ../share/apus beside the executable, then the first folder above the executable
  /// that holds functions/templates (a build in a clone).
  static func locate() throws(Failure) -> InstalledFiles {
    try locate(share: EnvironmentVariables["APUS_SHARE"], executable: realExecutable())
  }

  /// The same, of a given environment and executable.
  static func locate(share: String?, executable: String) throws(Failure) -> InstalledFiles {
    let binaries = parent(of: executable)
    if let share, !share.isEmpty {
      guard holdsFunctions(share) else {
        throw Failure(
          "$APUS_SHARE is \(share), which holds no functions/templates",
          next: "Set it to the folder that holds functions/, or unset it.")
      }
      return InstalledFiles(share: DataFolder.absolute(share), binaries: binaries)
    }
    let installed = parent(of: binaries) + "/share/apus"
    if holdsFunctions(installed) { return InstalledFiles(share: installed, binaries: binaries) }
    var folder = binaries
    while folder != "/" {
      if holdsFunctions(folder) { return InstalledFiles(share: folder, binaries: binaries) }
      folder = parent(of: folder)
    }
    throw Failure(
      "the files that come with apus were not found (no functions/templates above \(executable))",
      next: "Run `make up` in the clone, or set APUS_SHARE to the folder that holds functions/.")
  }

  /// The folder of a runtime's template.
  func template(_ runtime: Runtime) -> String { "\(share)/functions/templates/\(runtime.rawValue)" }
  /// The folder of a runtime's runner files.
  func runner(_ runtime: Runtime) -> String { "\(share)/functions/runtimes/\(runtime.rawValue)" }
  /// The folder of the library that Swift functions link.
  var swiftLibrary: String { "\(share)/functions/runtime-swift" }
  /// A companion executable: `apus-spawner`, `apus-exec-runner`, `apus-lambda-bridge`.
  func companion(_ name: String) -> String { "\(binaries)/\(name)" }

  /// The executable of this process with every link resolved.
  static func realExecutable() -> String {
    guard let resolved = realpath("/proc/self/exe", nil) else { return CommandLine.arguments[0] }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  private static func parent(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
    return String(path[..<slash])
  }

  private static func holdsFunctions(_ folder: String) -> Bool {
    FileManager.default.fileExists(atPath: folder + "/functions/templates")
  }
}
