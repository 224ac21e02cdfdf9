import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Testing

@testable import ControlPlane

/// Who comes in, whose turn it is, and what is kept: scripts and random lives of the board.
@Suite("Asynchronous calls: board") struct CallBoardTests {
  private let start = Timestamp(milliseconds: 1_800_000_000_000)

  private func head(_ id: String, _ function: String = "f") -> AsyncCall.Head {
    AsyncCall.Head(id: id, namespace: "default", function: function, path: "", enqueued: start)
  }

  private func admit(_ board: inout CallBoard, _ id: String, _ function: String = "f", bytes: Int = 10) throws {
    try board.admit(id, head(id, function), bytes: bytes)
    board.written(id)
  }

  private func end(_ board: inout CallBoard, _ id: String, dead: Bool = false, at time: Timestamp? = nil) {
    board.end(
      id, dead: dead, at: time ?? start, attempts: 1, status: 200, reason: nil, resultBytes: 1, callback: false)
  }

  @Test func `a call runs only after it was written, and its id is known from its admission on`() throws {
    var board = CallBoard()
    try board.admit("a", head("a"), bytes: 1)
    #expect(board.nextLane == nil)
    #expect(throws: CallBoard.Refusal.known) { try board.admit("a", head("a", "other"), bytes: 1) }
    board.written("a")
    #expect(board.start("default/f", atMost: 1) == "a")
    end(&board, "a")
    #expect(throws: CallBoard.Refusal.known) { try board.admit("a", head("a"), bytes: 1) }
    try board.admit("b", head("b"), bytes: 1)
    board.abandon("b")
    try board.admit("b", head("b"), bytes: 1)
  }

  @Test func `a queue is bounded by calls, by bytes and by dead letters, each function by itself`() throws {
    var board = CallBoard()
    for index in 0..<Limits.asyncQueueCalls { try admit(&board, "a\(index)") }
    #expect(throws: CallBoard.Refusal.self) { try admit(&board, "more") }
    try admit(&board, "other", "g")
    let first = board.start("default/f", atMost: 1)
    end(&board, first ?? "")
    try admit(&board, "more")

    var big = CallBoard()
    try admit(&big, "half", bytes: Limits.asyncQueueBytes / 2)
    try admit(&big, "rest", bytes: Limits.asyncQueueBytes / 2)
    #expect(throws: CallBoard.Refusal.self) { try admit(&big, "byte", bytes: 1) }

    var dead = CallBoard()
    for index in 0..<Limits.asyncDeadLetters {
      try admit(&dead, "d\(index)")
      #expect(dead.start("default/f", atMost: 1) == "d\(index)")
      end(&dead, "d\(index)", dead: true)
    }
    #expect(throws: CallBoard.Refusal.self) { try admit(&dead, "more") }
    for id in dead.deadLetters("default/f") { dead.purged(id) }
    try admit(&dead, "more")
    #expect(dead.entries.count == 1)
  }

  @Test func `functions take turns, and none runs more than its pods take`() throws {
    var board = CallBoard()
    for index in 0..<5 { try admit(&board, "f\(index)") }
    for index in 0..<2 { try admit(&board, "g\(index)", "g") }
    var order: [String] = []
    while let lane = board.nextLane, order.count < 20 {
      if let id = board.start(lane, atMost: 2) { order.append(id) }
    }
    #expect(order == ["f0", "g0", "f1", "g1"])
    end(&board, "f0")
    #expect(board.nextLane == "default/f")
    #expect(board.start("default/f", atMost: 2) == "f2")
    // The one behind finds no room; its turn comes back with the next end.
    #expect(board.start("default/f", atMost: 2) == nil)
    #expect(board.nextLane == nil)
  }

  @Test func `calls run in the order in which they came, and a retry waits for its time`() throws {
    var board = CallBoard()
    for id in ["a", "b"] { try admit(&board, id) }
    #expect(board.start("default/f", atMost: 1) == "a")
    board.retry("a", at: start.advanced(milliseconds: 100), attempts: 1, status: 500, reason: "it failed")
    #expect(board.entries["a"]?.state == .retrying)
    let early = board.wake(start.advanced(milliseconds: 99))
    #expect(!early)
    let due = board.wake(start.advanced(milliseconds: 100))
    #expect(due)
    #expect(board.start("default/f", atMost: 1) == "b")
    end(&board, "b")
    #expect(board.start("default/f", atMost: 1) == "a")
    board.putBack("a")
    #expect(board.entries["a"]?.state == .queued && board.entries["a"]?.attempts == 1 && board.running == 0)
  }

  @Test func `results go when their time is over, dead letters stay, and both can be run again`() throws {
    var board = CallBoard()
    for (index, id) in ["a", "b", "c"].enumerated() {
      try admit(&board, id)
      #expect(board.start("default/f", atMost: 1) == id)
      end(&board, id, dead: id == "b", at: start.advanced(milliseconds: Int64(index)))
    }
    let none = board.expire(before: start.advanced(milliseconds: -1), atMost: 10)
    #expect(none.isEmpty)
    let opened = try board.reopen("c")
    #expect(opened)
    let gone = board.expire(before: start.advanced(milliseconds: 1000), atMost: 10).map(\.id)
    #expect(gone == ["a"])
    board.reopened("c")
    let again = try board.reopen("b")
    #expect(again)
    board.reopenFailed("b", dead: true)
    #expect(board.entries["b"]?.state == .dead && board.entries["c"]?.state == .queued)
    let busy = try board.reopen("c")
    #expect(!busy)
    #expect(board.list(CallFilter(namespace: "default", state: .dead)).map(\.id) == ["b"])
    #expect(board.resultCount == 0 && board.resultBytes == 0)
  }

  @Test func `a callback is sent at most three times, and never while the call is run again`() throws {
    var board = CallBoard()
    try admit(&board, "a")
    #expect(board.start("default/f", atMost: 1) == "a")
    board.end(
      "a", dead: false, at: start, attempts: 1, status: 200, reason: nil, resultBytes: 0, callback: true)
    let first = board.nextCallback()
    #expect(first?.id == "a" && first?.attempts == 0)
    let open = try board.reopen("a")
    #expect(!open)
    board.callbackEnded("a", again: start.advanced(milliseconds: 5))
    let none = board.nextCallback()
    #expect(none == nil)
    let due = board.wake(start.advanced(milliseconds: 5))
    let second = board.nextCallback()
    #expect(due && second?.attempts == 1)
    board.callbackEnded("a", again: nil)
    #expect(board.callbacksRunning == 0)
    let reopened = try board.reopen("a")
    #expect(reopened)
  }

  @Test(arguments: 0..<20)
  func `whatever happens, counts are those of the calls, and every call can come to its end`(round: Int) throws {
    var random = SeededGenerator(seed: UInt64(round))
    var board = CallBoard()
    var now = start
    var next = 0
    for _ in 0..<600 {
      now = now.advanced(milliseconds: Int64.random(in: 0...50, using: &random))
      let ids = board.entries.keys.sorted()
      let id = ids.randomElement(using: &random) ?? ""
      switch Int.random(in: 0..<9, using: &random) {
      case 0...2:
        next += 1
        try board.admit("c\(next)", head("c\(next)", ["f", "g", "h"].randomElement(using: &random) ?? "f"), bytes: 3)
        if Bool.random(using: &random) { board.written("c\(next)") } else { board.abandon("c\(next)") }
      case 3...4: if let lane = board.nextLane { _ = board.start(lane, atMost: 2) }
      case 5: end(&board, id, dead: Bool.random(using: &random), at: now)
      case 6: board.retry(id, at: now.advanced(milliseconds: 30), attempts: 1, status: 500, reason: "x")
      case 7: if try board.reopen(id) { board.reopened(id) }
      default:
        _ = board.wake(now)
        _ = board.expire(before: now.advanced(milliseconds: -500), atMost: 3)
        if board.entries[id]?.phase == .dead, Bool.random(using: &random) { board.purged(id) }
      }
      check(board)
    }
    // Everything that waits comes to its end.
    for _ in 0..<5000 {
      now = now.advanced(milliseconds: 100)
      _ = board.wake(now)
      while let lane = board.nextLane { if board.start(lane, atMost: 2) == nil { continue } }
      for (id, entry) in board.entries where entry.phase == .running { end(&board, id, at: now) }
      if board.lanes.values.allSatisfy({ $0.queued == 0 }) { break }
    }
    #expect(board.entries.values.allSatisfy { $0.phase == .done || $0.phase == .dead }, "seed \(round)")
  }

  private func check(_ board: CallBoard) {
    let entries = board.entries.values
    #expect(board.running == entries.count { $0.phase == .running })
    let done = entries.filter { $0.phase == .done }
    #expect(board.resultCount == done.count)
    #expect(board.resultBytes == done.reduce(0) { $0 + $1.bytes + $1.resultBytes })
    for (key, lane) in board.lanes {
      let own = entries.filter { $0.lane == key }
      #expect(lane.running == own.count { $0.phase == .running } && lane.running <= 2)
      #expect(lane.dead == own.count { $0.phase == .dead })
      #expect(lane.queued == own.count { $0.phase != .dead && $0.phase != .done })
      #expect(lane.bytes == own.filter { $0.phase != .done }.reduce(0) { $0 + $1.bytes })
    }
  }
}
