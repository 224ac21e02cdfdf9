import Testing

/// The arrows of the house: which of our own modules a target may import (docs/architecture.md).
@Suite("Arrows")
struct ArrowTests {
  static let allowed: [String: Set<String>] = [
    "ClusterModel": [],
    "StateStore": [],
    "LogIndex": ["CZlib"],
    "ClusterAPI": ["ClusterModel"],
    "Planning": ["ClusterModel"],
    "FunctionPackage": ["ClusterModel", "CZlib", "CLinux"],
    "PodSandbox": ["ClusterModel", "CLinux"],
    "ClusterClient": ["ClusterModel", "ClusterAPI"],
    "HTTPService": ["ClusterModel", "ClusterAPI"],
    "ImageStore": ["ClusterModel", "FunctionPackage", "CLinux"],
    "ControlPlane": ["ClusterModel", "ClusterAPI", "Planning", "StateStore", "FunctionPackage", "HTTPService"],
    "WorkerAgent": [
      "ClusterModel", "ClusterAPI", "ClusterClient", "HTTPService", "PodSandbox", "FunctionPackage",
      "ImageStore", "CLinux",
    ],
    "Gateway": ["ClusterModel", "ClusterAPI", "Planning"],
    "LogService": ["ClusterModel", "ClusterAPI", "HTTPService", "LogIndex", "CZlib"],
    "apus": [
      "ClusterModel", "ClusterAPI", "Planning", "StateStore", "FunctionPackage", "PodSandbox", "ClusterClient",
      "HTTPService", "ControlPlane", "WorkerAgent", "Gateway", "LogService", "LogIndex", "ImageStore", "CLinux",
    ],
  ]

  private static let own = Set(allowed.keys).union(["CZlib", "CLinux"])
  private static let access: Set<String> = ["public", "package", "internal", "private", "fileprivate", "@testable"]

  /// The module an import line names, or nil for any other line.
  static func imported(_ line: String) -> String? {
    var words = line.split(separator: " ").map(String.init)
    while let first = words.first, access.contains(first) || first.hasPrefix("@") { words.removeFirst() }
    guard words.count >= 2, words[0] == "import" else { return nil }
    let kinds: Set<String> = ["struct", "class", "enum", "func", "protocol", "typealias", "var", "let"]
    let name = kinds.contains(words[1]) && words.count > 2 ? words[2] : words[1]
    return String(name.prefix { $0 != "." })
  }

  @Test("every import of a sibling follows an arrow of the house")
  func imports() {
    let files = SourceTree.swiftFiles(["Sources", "gateway/Sources"])
    #expect(files.count > 100, "the tree was found")
    for file in files {
      let target = SourceTree.target(of: file.path)
      guard let may = Self.allowed[target] else {
        Issue.record("\(file.path): target \(target) has no row in the table of arrows")
        continue
      }
      for (number, line) in file.lines.enumerated() {
        guard let module = Self.imported(line), Self.own.contains(module), module != target else { continue }
        #expect(may.contains(module), "\(file.path):\(number + 1): \(target) may not import \(module)")
      }
    }
  }

  @Test("the functions' Swift library imports nothing but the system")
  func runtimeIsAlone() {
    for file in SourceTree.swiftFiles(["functions/runtime-swift/Sources"]) {
      for line in file.lines {
        guard let module = Self.imported(line) else { continue }
        let isOwn = ["ApusFunction", "Programs", "LambdaBridge"].contains(module)
        #expect(isOwn || ["Glibc", "Synchronization", "Dispatch"].contains(module), "\(file.path) imports \(module)")
      }
    }
  }

  @Test("an import line is read whatever stands before it")
  func reading() {
    #expect(Self.imported("package import ClusterAPI") == "ClusterAPI")
    #expect(Self.imported("@testable import Gateway") == "Gateway")
    #expect(Self.imported("import struct Foundation.Data") == "Foundation")
    #expect(Self.imported("let import_ = 1") == nil)
  }
}
