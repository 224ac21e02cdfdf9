import ClusterTestSupport
import Testing

@testable import LogIndex

@Suite struct CacheOrderTests {
  /// Uses it as a cache does: asks for it, and keeps it if it is not kept. Answers whether it was.
  private func read(_ name: String, _ order: inout CacheOrder, _ kept: inout Set<String>) -> Bool {
    order.use(name)
    if kept.contains(name) { return true }
    kept.insert(name)
    kept.subtract(order.keep(name, bytes: 1))
    return false
  }

  private func scan(_ names: some Sequence<Int>, _ order: inout CacheOrder, _ kept: inout Set<String>) -> Int {
    names.count { read("block \($0)", &order, &kept) }
  }

  @Test func `what came last of what is used as little gives way`() {
    var order = CacheOrder(bytesMaximum: 2)
    #expect(order.keep("a", bytes: 1) == [])
    #expect(order.keep("b", bytes: 1) == [])
    #expect(order.keep("c", bytes: 1) == ["c"])
    order.use("a")
    order.use("c")
    order.use("c")
    #expect(order.keep("c", bytes: 1) == ["b"])
    #expect(order.bytes == 2 && order.count == 2)
  }

  @Test func `a scan of more than there is room for finds what was kept the first time`() {
    var order = CacheOrder(bytesMaximum: 40)
    var kept: Set<String> = []
    for round in 0..<30 {
      let hits = scan(0..<100, &order, &kept)
      #expect(hits == (round == 0 ? 0 : 40), "round \(round)")
    }
  }

  @Test func `a scan takes nothing away from what is used more`() {
    var order = CacheOrder(bytesMaximum: 20)
    var kept: Set<String> = []
    for _ in 0..<5 { _ = scan(0..<10, &order, &kept) }
    _ = scan(100..<200, &order, &kept)
    #expect(scan(0..<10, &order, &kept) == 10)
  }

  @Test func `what is used now takes the place of what was used once`() {
    var order = CacheOrder(bytesMaximum: 20)
    var kept: Set<String> = []
    for _ in 0..<50 { _ = scan(0..<20, &order, &kept) }
    var rounds = 0
    while scan(100..<120, &order, &kept) < 20, rounds < 20 { rounds += 1 }
    #expect(rounds < 10)
  }

  @Test func `bytes are those of what is kept, and one is always kept`() {
    var order = CacheOrder(bytesMaximum: 10)
    #expect(order.keep("a", bytes: 100) == [])
    #expect(order.keep("b", bytes: 1) == ["b"])
    #expect(order.resize("b", bytes: 50) == [])
    #expect(order.resize("a", bytes: 4) == [])
    #expect(order.keep("b", bytes: 1) == [])
    #expect(order.keep("b", bytes: 6) == [])
    #expect(order.bytes == 10)
    order.remove("a")
    order.remove("nothing")
    #expect(order.bytes == 6 && order.count == 1)
  }

  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func `whatever is done, what is kept is what was kept and did not give way`(_ seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    let most = Int.random(in: 1...60, using: &random)
    var order = CacheOrder(bytesMaximum: most)
    var kept: [String: Int] = [:]
    for _ in 0..<5_000 {
      let name = "\(Int.random(in: 0..<40, using: &random))"
      let bytes = Int.random(in: 0...9, using: &random)
      var gone: [String] = []
      switch Int.random(in: 0..<8, using: &random) {
      case 0:
        order.remove(name)
        kept[name] = nil
      case 1:
        if kept[name] != nil { kept[name] = bytes }
        gone = order.resize(name, bytes: bytes)
      case 2, 3:
        kept[name] = bytes
        gone = order.keep(name, bytes: bytes)
      default: order.use(name)
      }
      for name in gone { #expect(kept.removeValue(forKey: name) != nil) }
      #expect(order.count == kept.count && order.bytes == kept.values.reduce(0, +))
      #expect(order.bytes <= most || order.count == 1)
    }
  }

  @Test func `the memory for blocks is a part of the machine's`() {
    #expect(LogIndexOptions.cacheBytes(memory: 1 << 30) == 64 << 20)
    #expect(LogIndexOptions.cacheBytes(memory: 16 << 30) == 256 << 20)
    #expect(LogIndexOptions.cacheBytes(memory: 1 << 40) == 512 << 20)
  }
}
