import Testing

@testable import LogIndex

@Suite struct PruningTests {
  private func pruning(_ text: String, _ scope: LogScope = .all) throws -> Pruning {
    Pruning(try LogQuery.parse(text), scope: scope)
  }

  private func bytes(_ texts: String...) -> Set<[UInt8]> { Set(texts.map { Array($0.utf8) }) }

  @Test func `what all parts say holds, and is exact when each part is`() throws {
    let found = try pruning("function:a level:>=error call:c", LogScope(namespaces: ["n"]))
    #expect(found.texts == [.function: bytes("a"), .call: bytes("c"), .namespace: bytes("n")])
    #expect(found.levels == LevelFilter([.error, .fatal]).mask)
    #expect(found.isExact)
    #expect(try pruning("function:a word").isExact == false)
    #expect(try pruning("function:a function:b").texts[.function] == [])
  }

  @Test func `of choices only what each says holds`() throws {
    #expect(try pruning("function:a OR function:b").texts == [.function: bytes("a", "b")])
    #expect(try pruning("function:a OR function:b").isExact)
    #expect(try pruning("function:a OR word").texts.isEmpty)
    #expect(try pruning("function:a OR call:c").texts.isEmpty)
    #expect(try pruning("function:a OR call:c").isExact == false)
  }

  @Test func `pairs of columns lose which belongs to which`() throws {
    let found = try pruning("(function:a level:error) OR (function:b level:info)")
    #expect(found.texts == [.function: bytes("a", "b")])
    #expect(found.levels == LevelFilter([.error, .info]).mask)
    #expect(found.isExact == false)
  }

  @Test func `times meet in AND, span in OR, and are never exact in OR`() throws {
    #expect(
      try pruning("time:>=2026-11-20 time:<2026-11-21").range == TimeRange(since: day, until: day + 86_400_000_000_000))
    let either = try pruning("time:2026-11-20 OR time:2026-11-21")
    #expect(either.range == TimeRange(since: day, until: day + 86_400_000_000_001))
    #expect(either.isExact == false)
    #expect(try pruning("time:>=2026-11-20 OR time:<2026-11-19").range == TimeRange())
  }

  @Test func `NOT says nothing about columns`() throws {
    let found = try pruning("NOT (function:a OR level:error)")
    #expect(found.texts.isEmpty && found.levels == nil && !found.isExact)
  }
}
