import ClusterTestSupport
import StateStore
import Testing

/// Random histories, checked against the plainest model there is: a dictionary changed in order of revision.
@Suite struct `Random histories` {
  typealias State = [String: StoredObject]

  @Test(arguments: StoreKind.allCases)
  func `a list at any revision shows the state of then`(kind: StoreKind) async throws {
    var random = SeededGenerator(seed: testSeed)
    try await withStore(kind) { store in
      var states: [(Int64, State)] = [(await store.currentRevision, [:])]
      for step in 0..<150 {
        var state = states[states.count - 1].1
        let operations = Self.operations(&random, step: step)
        let revision = try await store.commit([], operations)
        Self.apply(operations, revision: revision, &state)
        states.append((revision, state))
      }
      for (revision, state) in states {
        var items: [StoredObject] = []
        var page = try await store.list(prefix: "/", after: nil, limit: 3, at: revision)
        items += page.items
        while let next = page.next {
          page = try await store.list(prefix: "/", after: next, limit: 3, at: revision)
          items += page.items
        }
        #expect(items == state.values.sorted { $0.key < $1.key }, "seed \(testSeed), revision \(revision)")
      }
    }
  }

  @Test(arguments: StoreKind.allCases)
  func `are strictly serialisable, and what a watch rebuilds equals the list`(kind: StoreKind) async throws {
    try await withStore(kind) { store in
      let start = await store.currentRevision
      let clock = LogicalClock()
      let committed = Collected<Commit>()
      let watching = Task { try await Self.rebuild(store, after: start) }
      try await withThrowingTaskGroup(of: Void.self) { group in
        for worker in 0..<16 {
          group.addTask {
            var random = SeededGenerator(seed: testSeed &+ UInt64(worker))
            for step in 0..<40 { try await Self.step(store, worker * 1_000 + step, &random, clock, committed) }
          }
        }
        try await group.waitForAll()
      }
      let end = try await store.put("/end", "")
      let (rebuilt, revisions) = try await watching.value
      let history = committed.all.sorted { $0.revision < $1.revision }
      let state = Self.check(history, start: start)
      var list = Dictionary(uniqueKeysWithValues: try await store.listAll(prefix: "/").items.map { ($0.key, $0) })
      #expect(rebuilt == list, "seed \(testSeed)")
      list["/end"] = nil
      #expect(list == state, "seed \(testSeed)")
      #expect(revisions == Array(start + 1...end), "seed \(testSeed)")
      #expect(history.count + 1 == Int(end - start), "seed \(testSeed)")
    }
  }

  /// What one worker saw and did; `began` and `ended` are instants of a shared logical clock.
  struct Commit {
    let began: Int
    let ended: Int
    let revision: Int64
    let compares: [StoreCompare]
    let operations: [StoreOperation]
  }

  static func operations(_ random: inout SeededGenerator, step: Int) -> [StoreOperation] {
    var keys = Set(
      (0..<Int.random(in: 1...4, using: &random)).map { _ in "/k\(Int.random(in: 0..<8, using: &random))" })
    keys.insert("/step")  // so that every commit changes something
    return keys.sorted().map { key in
      key != "/step" && Bool.random(using: &random)
        ? .delete(key) : .put(key, value: bytes("\(step) \(UInt64.random(in: 0...9, using: &random))"))
    }
  }

  static func apply(_ operations: [StoreOperation], revision: Int64, _ state: inout State) {
    for operation in operations {
      switch operation {
      case .delete(let key): state[key] = nil
      case .put(let key, let value, let expires):
        let old = state[key]
        state[key] = StoredObject(
          key: key, value: value, createRevision: old?.createRevision ?? revision, modRevision: revision,
          version: (old?.version ?? 0) + 1, expires: expires)
      }
    }
  }

  /// Reads some keys, then commits on the condition that they are as they were read.
  static func step(
    _ store: any StateStore, _ number: Int, _ random: inout SeededGenerator, _ clock: LogicalClock,
    _ committed: Collected<Commit>
  ) async throws {
    var operations = operations(&random, step: number).filter { $0.key != "/step" }
    operations.append(.put("/worker\(number)", value: []))
    var compares: [StoreCompare] = []
    for operation in operations where operation.key.hasPrefix("/k") {
      let object = try await store.get(operation.key)
      compares.append(object.map { .modRevision($0.key, equals: $0.modRevision) } ?? .absent(operation.key))
    }
    let began = clock.tick()
    let result = await Self.commit(store, compares, operations)
    let ended = clock.tick()
    if case .failure(.conflict) = result { return }
    let revision = try result.get()
    committed.append(
      Commit(began: began, ended: ended, revision: revision, compares: compares, operations: operations))
    let own = try await store.get("/worker\(number)")
    #expect(own?.modRevision == revision, "one reads one's own write")
  }

  static func commit(
    _ store: any StateStore, _ compares: [StoreCompare], _ operations: [StoreOperation]
  ) async -> Result<Int64, StoreError> {
    do {
      return .success(try await store.commit(compares, operations))
    } catch {
      return .failure(error)
    }
  }

  /// Replays the commits in order of revision: each compare must hold where it stands, and time may not run backwards.
  static func check(_ history: [Commit], start: Int64) -> State {
    var state: State = [:]
    var latestBegin = 0
    for (index, commit) in history.enumerated() {
      #expect(commit.revision == start + Int64(index) + 1, "seed \(testSeed): a gap or a revision used twice")
      for compare in commit.compares {
        let current = state[compare.key]?.modRevision
        switch compare {
        case .absent: #expect(current == nil, "seed \(testSeed)")
        case .exists: #expect(current != nil, "seed \(testSeed)")
        case .modRevision(_, let revision): #expect(current == revision, "seed \(testSeed)")
        }
      }
      apply(commit.operations, revision: commit.revision, &state)
      #expect(commit.ended > latestBegin, "seed \(testSeed): a commit that had ended comes after one that began later")
      latestBegin = max(latestBegin, commit.began)
    }
    return state
  }

  static func rebuild(_ store: any StateStore, after start: Int64) async throws -> (State, [Int64]) {
    var state: State = [:]
    var revisions: [Int64] = []
    for try await batch in store.watch(prefix: "/", after: start) where !batch.isProgress {
      revisions.append(batch.revision)
      for event in batch.events {
        #expect(event.previous == state[event.key], "seed \(testSeed)")
        state[event.key] = event.object
      }
      if batch.events.contains(where: { $0.key == "/end" }) { break }
    }
    return (state, revisions)
  }
}
