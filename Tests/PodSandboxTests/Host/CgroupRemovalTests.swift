import Testing

@testable import PodSandbox

@Suite("When groups are removed")
struct CgroupRemovalTests {
  private let quiet = CgroupRemovals.quietNs
  private func group(_ number: Int) -> Cgroup { Cgroup(version: .v1, folders: [.memory: "/none/\(number)"]) }
  private func numbers(_ groups: [Cgroup]) -> [Int] {
    groups.compactMap { $0.distinct.first?.split(separator: "/").last.flatMap { Int($0) } }
  }

  @Test func `they wait until no pod has ended for a moment, and go oldest first, a few at a time`() {
    var removals = CgroupRemovals()
    #expect(removals.due(at: 0) == nil)
    let count = CgroupRemovals.turn + 3
    for number in 0..<count { removals.add(group(number), at: UInt64(number)) }
    let last = UInt64(count - 1)
    #expect(removals.due(at: last) == quiet)
    #expect(removals.due(at: last + quiet - 1) == 1)
    #expect(removals.due(at: last + quiet) == 0)
    #expect(numbers(removals.take()) == Array(0..<CgroupRemovals.turn))
    #expect(removals.due(at: last + quiet) == 0)
    #expect(numbers(removals.take()) == Array(CgroupRemovals.turn..<count))
    #expect(removals.due(at: last + quiet) == nil && removals.take() == [])
  }

  @Test func `where pods never stop ending they wait no longer than so long, and are never more than so many`() {
    var removals = CgroupRemovals()
    var now: UInt64 = 5
    while removals.due(at: now) != 0 {
      removals.add(group(1), at: now)
      now += quiet / 2
    }
    #expect(now >= 5 + CgroupRemovals.patienceNs && now < 5 + CgroupRemovals.patienceNs + quiet)
    removals = CgroupRemovals()
    for number in 0...CgroupRemovals.maximum {
      #expect(removals.due(at: 7) != 0)
      removals.add(group(number), at: 7)
    }
    #expect(removals.due(at: 7) == 0)
  }

  @Test func `one that cannot be removed is tried again behind the next, and at the end`() {
    var removals = CgroupRemovals()
    removals.add(group(1), at: 0)
    removals.failed(removals.take())
    #expect(removals.due(at: 1 << 40) == nil)
    removals.add(group(2), at: 9)
    #expect(numbers(removals.take()) == [2, 1])
    removals.failed([group(1)])
    removals.add(group(3), at: 9)
    #expect(numbers(removals.takeAll()) == [3, 1] && removals.takeAll() == [] && removals.due(at: 9) == nil)
  }
}
