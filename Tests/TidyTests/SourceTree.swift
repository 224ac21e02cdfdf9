import Foundation

/// The project's own files, read once for all tidy tests.
struct SourceTree: Sendable {
  /// One file.
  struct File: Sendable {
    /// The path from the root.
    let path: String
    /// Its lines.
    let lines: [String]
  }

  /// The folder that holds Package.swift.
  static let root: URL = {
    var folder = URL(filePath: #filePath).deletingLastPathComponent()
    while !FileManager.default.fileExists(atPath: folder.appending(path: "Package.swift").path) {
      folder.deleteLastPathComponent()
    }
    return folder
  }()

  /// Where Swift sources of the product live.
  static let sourceFolders = ["Sources", "gateway/Sources", "functions/runtime-swift/Sources"]
  /// Where tests live.
  static let testFolders = ["Tests", "gateway/Tests", "functions/runtime-swift/Tests"]

  /// Swift files below some folders.
  static func swiftFiles(_ folders: [String]) -> [File] { files(folders, suffixes: [".swift"]) }

  /// Files with one of some suffixes below some folders, build folders left out.
  static func files(_ folders: [String], suffixes: [String]) -> [File] {
    folders.flatMap { folder -> [File] in
      let base = root.appending(path: folder)
      guard let walk = FileManager.default.enumerator(at: base, includingPropertiesForKeys: nil) else { return [] }
      return walk.compactMap { item in
        guard let url = item as? URL, suffixes.contains(where: url.path.hasSuffix), !url.path.contains("/.build"),
          let text = try? String(contentsOf: url, encoding: .utf8)
        else { return nil }
        let path = String(url.path.dropFirst(root.path.count + 1))
        return File(path: path, lines: text.components(separatedBy: "\n"))
      }
    }
  }

  /// The target a source file belongs to: the folder below Sources.
  static func target(of path: String) -> String {
    let parts = path.split(separator: "/").map(String.init)
    guard let index = parts.firstIndex(of: "Sources"), index + 1 < parts.count else { return "" }
    return parts[index + 1]
  }
}
