import Testing

@testable import LogIndex

/// A template is passed over only where no value of it can match.
@Suite struct TemplateScreenTests {
  /// A block whose messages come of few templates, with numbers, identifiers and what other fields say.
  private func block() throws -> (Block, [[UInt8]]) {
    let lines = (0..<600).map { number -> [UInt8] in
      let call = "6cbc36de-39a3-4e3c-91c4-daec1b28\(1_000 + number / 4)"
      let messages = [
        "order \(number) of user u\(number % 40) took \(number % 97).5 ms", "START RequestId: \(call) Version: 1",
        "etag 9f8e7d6c5b4a\(1_000 + number) stored", "cache miss, loading from db-\(number % 3).internal",
        "tab\\tand \\\"quote\\\" \(number)",
      ]
      return line(messages[number % 5], time: day + Int64(number), call: call)
    }
    return (try Block(bytes: try blockFile(lines)), lines)
  }

  @Test(arguments: [
    "order \\d+ of", "u1\\d took", "u3 took", "RequestId: 6cbc", "28105.", "Version: 1$", "^START",
    "etag [0-9a-f]+ stored",
    "4a11..", "loading from (db|mail)-2", "db-9", "(?i)CACHE MISS", "\\tand \"quote\" 4", "took .*7\\.5", "stored|took",
    "nothing of it", "d 9f8", "\\bquote\\b", "^etag 9f8e7d6c5b4a1007", "miss.*internal$", "[xyz]{3}", "er 1(2|3)7 o",
  ])
  func `an expression finds in a block what it finds in each record`(_ pattern: String) throws {
    let (block, lines) = try block()
    for field in ["msg", "call"] {
      let query = try LogQuery.parse("\(field):/\(pattern)/")
      let expected = try lines.filter { query.filter.matches(try IndexedRecord($0)) }.count
      let search = try BlockSearch(block)
      #expect(try search.matches(query.filter, .all(block.rowCount)).count == expected, "\(field):/\(pattern)/")
      #expect(expected == 0 || BloomProbes(query.filter).allow(block.filter))
    }
  }

  @Test func `texts that no value of a template holds are known`() throws {
    let (block, _) = try block()
    let plan = try BlockSearch(block).plan(.reserved(.msg))
    let column = try #require(plan.columns.keys.first)
    guard case .template(let reader) = try block.column(column).body else {
      Issue.record("the messages are no templates")
      return
    }
    let kinds = reader.column.columns.map { block.kind($0) }
    func count(_ text: String) -> Int {
      reader.column.templates.count { TemplateScreen($0, kinds: kinds).mayHold(Array(text.utf8)) }
    }
    #expect(reader.column.templates.count == 5)
    #expect(count("loading from") == 1 && count("cache mess") == 0 && count("ms") == 1)
    #expect(count("requestid: 6") == 1 && count("requestid: z") == 0)
  }
}
