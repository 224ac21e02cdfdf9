import ClusterTestSupport
import Testing

@testable import LogIndex

/// Identifiers in messages are variables as a whole, and what never varies of them belongs to the template.
@Suite struct TemplateWriterTests {
  private static let rows = 800

  /// Messages of four templates: with a UUID of which two groups may be letters alone, with one that several of them have,
  /// with numbers of 32 hexadecimal digits that rise, with one of 20 decimal ones.
  private static let lines: [[UInt8]] = {
    var random = SeededGenerator(seed: 41)
    return (0..<rows).map { number in
      let group = random.pick(["cafe-beef", "6a9c-4de8", "dead-b0b0", "0123-face"])
      let tail = String(Int.random(in: 0x1000_0000_0000...0xFFFF_FFFF_FFFF, using: &random), radix: 16)
      let id = "\(String(Int.random(in: 0x1000_0000...0xFFFF_FFFF, using: &random), radix: 16))-\(group)-8a4b-\(tail)"
      let shared = "63bfdd1a-6f38-4f1e-b86a-4484e8\(0x6E3950 + number / 8)"
      let rising = "5f0320d5fe202d73f9c50f6d8b" + String(0xC00000 + number, radix: 16)
      let messages = [
        "authorizing request http.request.id=\(id)", "trace.id=\(shared) done (\(shared))",
        "hb.request.id=\(rising) answered", "at 1795132800\(2_012_719_320 + number)ns of _\(id)",
      ]
      return line(messages[number % 4], time: day + Int64(number))
    }
  }()

  private func reader(_ block: Block) throws -> TemplateReader {
    let column = try #require(try BlockSearch(block).plan(.reserved(.msg)).columns.keys.first)
    guard case .template(let reader) = try block.column(column).body else {
      throw BlockFault("the messages are no templates")
    }
    return reader
  }

  @Test func `each message is of one of few templates, and comes back as it was`() throws {
    let block = try Block(bytes: try blockFile(Self.lines))
    let reader = try reader(block)
    #expect(reader.column.templates.count == 4 && !reader.hasPlain)
    for variable in reader.column.variables {
      if case .text = variable { Issue.record("a variable is kept as text") }
      if case .hex(let digits, _) = variable { #expect(digits == 8, "the digits that never vary are kept for each") }
    }
    // All are of one function, so they stand in the order they came in.
    for row in 0..<block.rowCount { #expect(try block.record(row) == Self.lines[row]) }
  }

  @Test(arguments: [
    "cafe", "beef", "6a9c", "\"cafe-beef\"", "\"6a9c-4de8-8a4b\"", "\"beef-8a4b\"", "\"afe-bee\"", "dead*", "*b0b0",
    "63bfdd1a", "\"63bfdd1a-6f38-4f1e\"", "\"4f1e-b86a-4484e8\"", "5f0320d5fe202d73f9c50f6d8bc00002",
    "5f0320d5fe202d73f9c5*",
    "*c00006", "17951328002012719323ns", "1795132800*", "msg:/id=[0-9a-f]+-cafe/", "msg:/f-8a4b-.*$/",
    "msg:/8bc000.[a-f] /",
    "msg:/d1a-.*8.(6e|7)/", "msg:\"*face-8a4b*\"", "face", "\"beef-cafe\"",
  ])
  func `a query finds parts of them as it does in each record`(_ text: String) throws {
    let block = try Block(bytes: try blockFile(Self.lines))
    let query = try LogQuery.parse(text)
    let expected = try Self.lines.filter { query.filter.matches(try IndexedRecord($0)) }.count
    #expect(try BlockSearch(block).matches(query.filter, .all(block.rowCount)).count == expected)
    #expect(expected == 0 || BloomProbes(query.filter).allow(block.filter))
  }
}
