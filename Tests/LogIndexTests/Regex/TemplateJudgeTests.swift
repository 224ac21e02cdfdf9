import ClusterTestSupport
import Testing

@testable import LogIndex

/// A template is decided upon as a whole only where all of its values agree.
@Suite struct TemplateJudgeTests {
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
    "281[0-9]{2}[02468] Version", "(daec|c4-d).*[13]\\d Version: 1$", "[0-9]{6}",
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

  /// Words and phrases are expressions too.
  @Test(arguments: [
    "order", "\"order 12\"", "\"of user\"", "\"user u3\"", "u3", "CACHE", "\"loading from db-1.internal\"", "db",
    "9f8*",
    "*1007", "etag*stored", "o*r", "\"took 7.5 ms\"", "\"RequestId: 6cbc36de\"", "6cbc36de*", "\"START RequestId\"",
    "\"and \\\"quote\\\"\"", "ms", "ack", "\" took\"", "\"Version: 1\"",
  ])
  func `a word finds in a block what it finds in each record`(_ text: String) throws {
    let (block, lines) = try block()
    let query = try LogQuery.parse(text)
    let expected = try lines.filter { query.filter.matches(try IndexedRecord($0)) }.count
    #expect(try BlockSearch(block).matches(query.filter, .all(block.rowCount)).count == expected)
    #expect(expected == 0 || BloomProbes(query.filter).allow(block.filter))
  }

  @Test(arguments: [
    ("loading from", 1, 4, 0), ("cache mess", 0, 5, 0), ("\\d ms$", 1, 4, 0), ("took [0-9]+\\.", 1, 4, 0),
    ("RequestId: [0-9a-f]{8}", 0, 4, 1), ("RequestId: z", 0, 5, 0), ("order 1", 0, 4, 1), ("o", 5, 0, 0),
    ("etag [0-9a-f]{16} stored", 1, 4, 0), ("etag [0-9a-f]{17} stored", 0, 5, 0), ("etag .{15} ", 0, 5, 0),
    ("^.{1,4}$", 0, 5, 0), ("x", 0, 5, 0), ("RequestId: 6", 0, 4, 1), ("order [0-9]+ of user u[0-9]+ t", 1, 4, 0),
    ("[g-z]{2}\\d", 0, 5, 0), ("user u\\w+ took", 1, 4, 0), ("\\bfrom db-\\d\\b", 0, 4, 1),
  ])
  func `what a template says of all its values is known`(_ pattern: String, _ yes: Int, _ no: Int, _ open: Int) throws {
    let (block, _) = try block()
    let plan = try BlockSearch(block).plan(.reserved(.msg))
    let column = try #require(plan.columns.keys.first)
    guard case .template(let reader) = try block.column(column).body else {
      Issue.record("the messages are no templates")
      return
    }
    let program = try RegexProgram(Array(pattern.utf8), isFolded: false)
    var matcher = RegexMatcher(program)
    var judge = TemplateJudge(program, reader, of: block, matcher)
    var counts = [0, 0, 0]
    for template in reader.column.templates.indices {
      let first = judge.pieces.range(template).lowerBound
      switch try judge.outcome(template, from: first, matcher.start, &matcher) {
      case .yes: counts[0] += 1
      case .no: counts[1] += 1
      case .read, nil: counts[2] += 1
      }
    }
    #expect(counts == [yes, no, open])
  }

  /// An expression of more states than are kept: numbers of states of before must not be used.
  @Test func `a matcher that forgets its states in the midst of a block finds what it finds in each record`() throws {
    var random = SeededGenerator(seed: 11)
    let lines = (0..<900).map { number -> [UInt8] in
      let odd = String((0..<60).map { _ in random.pick(Array("abcd ")) })
      let call = "6cbc36de-39a3-4e3c-91c4-daec1b28\(1_000 + number / 9)"
      let message =
        number % 3 == 0 ? odd : number % 3 == 1 ? "took \(number) ms of \(number % 7)" : "end of \(call) now"
      return line(message, time: day + Int64(number), call: call)
    }
    let block = try Block(bytes: try blockFile(lines))
    let query = try LogQuery.parse("msg:/[ab].{12}c[bd]|took 1[0-9]*3 ms|281[0-9]*3 now/")
    let expected = try lines.filter { query.filter.matches(try IndexedRecord($0)) }.count
    guard case .regex(let filter) = query.filter else { return }
    let before = filter.program.withMatcher { $0.generation }
    #expect(try BlockSearch(block).matches(query.filter, .all(block.rowCount)).count == expected)
    #expect(filter.program.withMatcher { $0.generation } > before, "the matcher never forgot anything")
  }
}
