import Foundation
import Testing

@testable import LogIndex

/// Each production of the grammar on the page has what it is read as written down here.
@Suite struct GrammarTests {
  static let golden: [(production: String, text: String, tree: String)] = [
    ("query", "", "*"), ("query", "a | limit 5", "word(a) limit 5"),
    ("or", "a OR b OR c", "(word(a) | word(b) | word(c))"), ("or", "a b OR c", "((word(a) & word(b)) | word(c))"),
    ("and", "a AND b c", "(word(a) & word(b) & word(c))"),
    ("unary", "NOT -a", "!!word(a)"), ("unary", "n:(-5 OR -x)", "(equal(n, -5) | !equal(n, x))"),
    ("primary", "(a OR b) c", "((word(a) | word(b)) & word(c))"),
    ("match", "f:*", "there(f)"), ("match", "f:x", "equal(f, x)"), ("match", "f:\"\"", "!there(f)"),
    ("match", "msg:x", "word(x)"), ("match", "f:a*b", "like(f, a*b)"), ("match", "level:warning", "level(warn)"),
    ("group", "f:(a OR b c)", "(equal(f, a) | (equal(f, b) & equal(f, c)))"),
    ("group", "f:(>1 AND NOT 3)", "(range(f, >1.0) & !equal(f, 3))"),
    ("comparison", "f:>=5", "range(f, >=5.0)"), ("comparison", "f:<1Ki", "range(f, <1024.0)"),
    ("comparison", "level:>warn", "level(error, fatal)"),
    ("comparison", "time:<2026-11-20", "time(..1795132800000000000)"),
    ("range", "f:1..2", "range(f, >=1.0, <=2.0)"), ("range", "level:debug..warn", "level(debug, info, warn)"),
    ("quantity", "f:1Ki..2Mi", "range(f, >=1024.0, <=2097152.0)"),
    ("quantity", "f:>1m30s", "range(f, >90000000000.0ns)"),
    ("quantity", "f:>-2.5e3", "range(f, >-2500.0)"),
    ("regex", "msg:/a b\\/c|d/", "regex(msg, a b\\/c|d)"), ("regex", "f:/x/i y", "(regex(f, x, i) & word(y))"),
    ("regex", "path:/api/orders", "equal(path, /api/orders)"),
    ("regex", "f:(/a/ OR /b/)", "(regex(f, a) | regex(f, b))"),
    ("text", "\"a \\\"b\\\"\"", "word(a \"b\")"), ("text", "a\\ b*", "word(a b*)"),
    ("plain", "a.b-c/d", "word(a.b-c/d)"), ("plain", "a\\:b", "word(a:b)"),
    ("pipe", "| stats count(), p99(ms) as slow by (f, g) per 5m", "* stats [time, f, g, count(), slow]"),
    ("pipe", "| stats count() by f | sort by (count() desc, f) | limit 3", "* stats [f, count()] sort -1 0 limit 3"),
    ("pipe", "| top 3 f, g", "* stats [f, g, count()] sort -2 limit 3"),
    ("pipe", "| top by f", "* stats [f, count()] sort -1 limit 10"),
    ("pipe", "| top f | limit 2", "* stats [f, count()] sort -1 limit 2"),
    ("pipe", "| uniq by (f, g)", "* stats [f, g]"), ("pipe", "| uniq by", "* stats [by]"),
    ("pipe", "| sort by (ms desc, f) | fields a, b | limit 7", "* order -ms f fields a b limit 7"),
    ("pipe", "| fields (a, fields.level)", "* fields a fields.level"),
    ("function", "| stats sum(a) as b", "* stats [b]"), ("function", "| stats count(a)", "* stats [count(a)]"),
    ("columns", "| fields \"a b\", c", "* fields a b c"), ("order", "| sort a asc, b desc", "* order a -b"),
    ("orders", "| sort (a, b desc)", "* order a -b"),
  ]

  @Test(arguments: golden.map { ($0.text, $0.tree) })
  func `a query is read as`(_ text: String, _ tree: String) throws {
    #expect(Self.text(of: try LogQuery.parse(text)) == tree)
  }

  @Test func `every production of the page is read here`() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../..")
    let page = try String(contentsOf: root.appendingPathComponent("docs/log-query.md"), encoding: .utf8)
    let grammar = try #require(page.split(separator: "## Grammar").last?.split(separator: "```").dropFirst().first)
    let names = grammar.split(separator: "\n").compactMap { line in
      line.contains(" = ") && line.first != " " ? line.prefix { $0 != " " } : nil
    }
    #expect(names.count >= 16)
    for name in names { #expect(Self.golden.contains { $0.production == name }, "no query shows \(name)") }
  }

  /// A query in a spelling of its own.
  private static func text(of query: LogQuery) -> String {
    var parts = [text(of: query.filter)]
    if let stats = query.stats {
      parts.append("stats [\(stats.columns.joined(separator: ", "))]")
      if !stats.order.isEmpty {
        parts.append("sort " + stats.order.map { ($0.isDescending ? "-" : "") + "\($0.column)" }.joined(separator: " "))
      }
    }
    if !query.order.isEmpty {
      parts.append("order " + query.order.map { ($0.isDescending ? "-" : "") + "\($0.field)" }.joined(separator: " "))
    }
    if let fields = query.fields { parts.append("fields " + fields.map(\.description).joined(separator: " ")) }
    if let limit = query.limit { parts.append("limit \(limit)") }
    return parts.joined(separator: " ")
  }

  private static func text(of filter: LogFilter) -> String {
    func name(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
    func bound(_ sign: String, _ bound: RangeFilter.Bound?) -> String? {
      guard let bound else { return nil }
      let value =
        switch bound.value {
        case .number(let number): "\(number)"
        case .duration(let nanoseconds): "\(nanoseconds)ns"
        }
      return sign + (bound.isIncluded ? "=" : "") + value
    }
    switch filter {
    case .everything: return "*"
    case .all(let filters): return "(" + filters.map { text(of: $0) }.joined(separator: " & ") + ")"
    case .any(let filters): return "(" + filters.map { text(of: $0) }.joined(separator: " | ") + ")"
    case .not(let filter): return "!" + text(of: filter)
    case .text(let filter): return "word(" + filter.parts.map(name).joined(separator: "*") + ")"
    case .equals(let filter): return "equal(\(filter.field), \(name(filter.text)))"
    case .pattern(let filter): return "like(\(filter.field), \(filter.parts.map(name).joined(separator: "*")))"
    case .regex(let filter): return "regex(\(filter.field), \(name(filter.pattern))\(filter.isFolded ? ", i" : ""))"
    case .exists(let filter): return "there(\(filter.field))"
    case .range(let filter):
      return "range(\(filter.field), "
        + [bound(">", filter.lower), bound("<", filter.upper)].compactMap { $0 }.joined(separator: ", ") + ")"
    case .level(let filter): return "level(\(filter.levels.map(\.name).joined(separator: ", ")))"
    case .time(let range):
      return "time(\(range.since.map { "\($0)" } ?? "")..\(range.until.map { "\($0)" } ?? ""))"
    }
  }
}
