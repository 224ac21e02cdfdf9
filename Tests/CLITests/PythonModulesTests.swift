import ClusterTestSupport
import Foundation
import FunctionPackage
import Testing

@testable import apus

@Suite("Compiled modules of a Python package")
struct PythonModulesTests {
  private static func function(_ folder: TemporaryFolder, _ files: [String: String]) throws -> FunctionFolder {
    let all = files.merging(["function.yaml": manifest, "handler.py": "def handle(event, context): pass\n"]) { $1 }
    for (name, text) in all {
      let file = folder.url.appending(path: name)
      try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: file)
    }
    return try FunctionFolder.read(folder.path, env: [:])
  }

  private static let manifest = """
    apiVersion: apus.dev/v1
    kind: Function
    metadata: {name: compiled}
    spec: {runtime: python, handler: handler.py}
    """

  /// Packs it, unpacks it into a new folder and answers that with the package's digest.
  private static func packed(_ source: FunctionFolder) async throws -> (TemporaryFolder, String) {
    let staging = PackageStaging(source: source)
    let package = try await staging.packed()
    defer { staging.cleanUp(package) }
    let folder = try TemporaryFolder("unpacked")
    _ = try PackageArchive.unpack(package.path, into: folder.path + "/code")
    return (folder, package.digest)
  }

  @Test("what is imported is compiled, for whatever time its file gets, and knows no folder of this machine")
  func compiled() async throws {
    let folder = try TemporaryFolder("function")
    let source = try Self.function(
      folder,
      [
        "helper.py": "NAME = {'a', 'b', 'c'}\n", "broken.py": "def (\n", "deep/__init__.py": "",
        "deep/more.py": "x = 1\n",
        "deep/__pycache__/more.cpython-30.pyc": "of the owner's other Python",
      ])
    let (unpacked, digest) = try await Self.packed(source)
    let (_, again) = try await Self.packed(source)
    #expect(digest == again)
    let cache = "\(unpacked.path)/code/__pycache__"
    let name = try #require(
      try FileManager.default.contentsOfDirectory(atPath: cache).first { $0.hasPrefix("helper.") })
    let bytes = try Data(contentsOf: URL(filePath: "\(cache)/\(name)"))
    // PEP 552: flags 1 is "by hash, and never looked at again".
    #expect(Array(bytes[4..<8]) == [1, 0, 0, 0])
    #expect(
      bytes.range(of: Data("/function/helper.py".utf8)) != nil && bytes.range(of: Data("apus-deploy".utf8)) == nil)
    let deep = try FileManager.default.contentsOfDirectory(atPath: "\(unpacked.path)/code/deep/__pycache__")
    #expect(deep.count == 2 && !deep.contains("more.cpython-30.pyc"))
    #expect(FileManager.default.fileExists(atPath: "\(unpacked.path)/code/broken.py"))
    // The owner's folder is as it was.
    #expect(!FileManager.default.fileExists(atPath: folder.path + "/__pycache__"))
  }

  @Test("a function without modules of its own is packed as it stands")
  func plain() async throws {
    let folder = try TemporaryFolder("function")
    let source = try Self.function(folder, ["handler_test.py": "", "__pycache__/handler.cpython-311.pyc": "x"])
    #expect(!PythonModules.areImported(by: source))
    let (unpacked, _) = try await Self.packed(source)
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: unpacked.path + "/code").sorted() == [
        "handler.py", "handler_test.py",
      ])
  }
}
