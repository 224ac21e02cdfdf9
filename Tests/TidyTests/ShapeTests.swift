import Foundation
import Testing

/// How long files and functions may be, and what must stand beside unsafe code.
@Suite("Shape")
struct ShapeTests {
  static let fileLinesMax = 500
  static let functionLinesMax = 70

  private let sources = SourceTree.swiftFiles(SourceTree.sourceFolders)

  @Test("no file is longer than 500 lines")
  func fileLength() {
    for file in sources + SourceTree.swiftFiles(SourceTree.testFolders) {
      #expect(file.lines.count <= Self.fileLinesMax + 1, "\(file.path) has \(file.lines.count) lines")
    }
  }

  @Test("no function is longer than 70 lines")
  func functionLength() {
    for file in sources {
      for (start, length) in Self.functions(file.lines) where length > Self.functionLinesMax {
        Issue.record("\(file.path):\(start + 1): a function of \(length) lines")
      }
    }
  }

  /// First line and length of every function, by its indentation: it ends at the first `}` at its own depth.
  static func functions(_ lines: [String]) -> [(Int, Int)] {
    var found: [(Int, Int)] = []
    for (index, line) in lines.enumerated() {
      let words = line.split(separator: " ")
      guard words.contains(where: { $0 == "func" || $0.hasPrefix("init(") || $0.hasPrefix("init?(") }),
        !line.hasPrefix("//"), !line.contains("///")
      else { continue }
      let indent = line.prefix { $0 == " " }
      guard let end = lines[index...].firstIndex(where: { $0 == indent + "}" }) else { continue }
      found.append((index, end - index + 1))
    }
    return found
  }

  @Test("unsafe code says why it is safe")
  func safety() {
    let risky = ["@unchecked Sendable", "nonisolated(unsafe)", "try!", "fatalError(", "unsafeBitCast", " as! "]
    for file in sources {
      for (index, line) in file.lines.enumerated() where !line.trimmingCharacters(in: .whitespaces).hasPrefix("//") {
        guard let word = risky.first(where: line.contains) else { continue }
        let before = file.lines[max(0, index - 4)..<index].joined()
        #expect(before.contains("SAFETY:"), "\(file.path):\(index + 1): \(word) without a SAFETY line above it")
      }
    }
  }

  @Test("nobody reads descriptors through libdispatch, whose sources follow freed memory (decision 12)")
  func descriptorSources() {
    let calls = ["makeReadSource", "makeWriteSource", "DispatchIO(", "readabilityHandler", "writeabilityHandler"]
    for file in sources + SourceTree.swiftFiles(SourceTree.testFolders) where !file.path.hasSuffix("/ShapeTests.swift")
    {
      for call in calls {
        #expect(!file.lines.contains { $0.contains(call) }, "\(file.path) calls \(call)")
      }
    }
  }

  @Test("folders of a target hold at most 15 files")
  func folders() {
    var counts: [String: Int] = [:]
    for file in sources { counts[(file.path as NSString).deletingLastPathComponent, default: 0] += 1 }
    for (folder, count) in counts { #expect(count <= 15, "\(folder) holds \(count) files") }
  }

  @Test("what other targets use is documented")
  func documentation() {
    let words = ["package ", "public "]
    for file in sources {
      for (index, line) in file.lines.enumerated() {
        let text = line.trimmingCharacters(in: .whitespaces)
        guard words.contains(where: text.hasPrefix), !text.contains(" import "), !text.hasPrefix("public import"),
          !text.hasPrefix("package import"), !text.hasPrefix("package extension")
        else { continue }
        var above = index - 1
        while above >= 0, file.lines[above].trimmingCharacters(in: .whitespaces).hasPrefix("@") { above -= 1 }
        let comment = above >= 0 && file.lines[above].trimmingCharacters(in: .whitespaces).hasPrefix("///")
        #expect(comment, "\(file.path):\(index + 1): no doc comment: \(text.prefix(60))")
      }
    }
  }

  @Test("a function's length is read from its indentation")
  func reading() {
    let lines = ["  func a() {", "    if x {", "    }", "  }", "  func b() {", "  }"]
    #expect(Self.functions(lines).map(\.1) == [4, 2])
  }
}
