import Foundation
import Testing

@testable import LogIndex

/// docs/log-query.md shows only queries that can be read.
@Suite struct QueryPageTests {
  private func page() throws -> [Substring] {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../..")
    return try String(contentsOf: root.appendingPathComponent("docs/log-query.md"), encoding: .utf8)
      .split(separator: "\n", omittingEmptySubsequences: false)
  }

  @Test func `every query shown in a block parses`() throws {
    var isQuery = false
    var count = 0
    for line in try page() {
      if line.hasPrefix("```") {
        isQuery = line == "```logquery"
      } else if isQuery {
        count += 1
        do { _ = try LogQuery.parse(String(line)) } catch { Issue.record("\(line): \(error)") }
      }
    }
    #expect(count >= 8)
  }

  @Test func `every query in the tables parses`() throws {
    var count = 0
    for line in try page() where line.hasPrefix("| `") && !line.contains("\\|") {
      let cell = line.dropFirst(2).split(separator: " | ")[0]
      for piece in cell.split(separator: "`").filter({
        !$0.allSatisfy { ", ".contains($0) } && !"<>=".contains($0.first ?? " ")
      }) {
        count += 1
        do { _ = try LogQuery.parse(String(piece)) } catch { Issue.record("\(piece): \(error)") }
      }
    }
    #expect(count >= 20)
  }
}
