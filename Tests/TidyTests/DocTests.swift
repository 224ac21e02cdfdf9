import Foundation
import Testing

/// Documents: links lead somewhere, and nothing points outside the project.
@Suite("Documents")
struct DocTests {
  @Test("links between documents lead to files that exist")
  func links() throws {
    let pattern = try Regex("\\]\\(([^)#:]+)(#[^)]*)?\\)")
    let documents = SourceTree.files(["docs", "gateway", "functions"], suffixes: [".md"]) + Self.top()
    #expect(documents.count > 5)
    for file in documents {
      let folder = SourceTree.root.appending(path: file.path).deletingLastPathComponent()
      for (index, line) in file.lines.enumerated() {
        for match in line.matches(of: pattern) {
          guard let target = match.output[1].substring else { continue }
          let path = folder.appending(path: String(target)).standardizedFileURL.path
          #expect(FileManager.default.fileExists(atPath: path), "\(file.path):\(index + 1): no \(target)")
        }
      }
    }
  }

  private static func top() -> [SourceTree.File] {
    ["README.md", "CONTRIBUTING.md"].compactMap { name in
      guard let text = try? String(contentsOf: SourceTree.root.appending(path: name), encoding: .utf8) else {
        return nil
      }
      return SourceTree.File(path: name, lines: text.components(separatedBy: "\n"))
    }
  }
}
