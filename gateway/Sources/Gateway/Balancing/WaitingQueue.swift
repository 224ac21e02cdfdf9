import DequeModule

/// Names one request inside one function's dispatcher; rises with arrival.
typealias RequestID = UInt64

/// One request that waits for a pod.
struct Waiting: Equatable {
  /// The request.
  let id: RequestID
  /// When it arrived at the gateway, nanoseconds on the monotonic clock.
  let arrived: Int64
  /// When it is answered 503, nanoseconds.
  var deadline: Int64
  /// Times it came back because no pod took it.
  var requeues: Int
  /// Whether it was with a pod before: its deadline is later than those of requests behind it.
  var cameBack = false
  /// Whether all of it is held, so that it can go to a pod that is still starting.
  var isWhole = false
}

/// A FIFO of requests in order of arrival. One that comes back takes its old place; one may leave from the middle.
struct WaitingQueue {
  private struct Entry {
    var waiting: Waiting
    var left = false
  }

  // Sorted by id, so that leaving and coming back are binary searches. Entries that left stay as marks until
  // they reach the head or make up half of the queue.
  private var entries = Deque<Entry>()
  private(set) var count = 0

  var isEmpty: Bool { count == 0 }

  /// The request that waits longest.
  var first: Waiting? { entries.first?.waiting }

  /// Adds a request where its id puts it.
  mutating func insert(_ waiting: Waiting) {
    if let last = entries.last, last.waiting.id > waiting.id {
      let index = lowerBound(waiting.id)
      if entries[index].waiting.id == waiting.id {
        entries[index] = Entry(waiting: waiting)
      } else {
        entries.insert(Entry(waiting: waiting), at: index)
      }
    } else {
      entries.append(Entry(waiting: waiting))
    }
    count += 1
  }

  /// All of a request that waits is held now; false when it does not wait.
  mutating func becameWhole(_ id: RequestID) -> Bool {
    let index = lowerBound(id)
    guard index < entries.count, entries[index].waiting.id == id, !entries[index].left else { return false }
    entries[index].waiting.isWhole = true
    return true
  }

  /// Takes the head.
  mutating func popFirst() -> Waiting? {
    guard let entry = entries.popFirst() else { return nil }
    count -= 1
    trim()
    return entry.waiting
  }

  /// Takes a request out; false when it does not wait.
  mutating func remove(_ id: RequestID) -> Bool {
    let index = lowerBound(id)
    guard index < entries.count, entries[index].waiting.id == id, !entries[index].left else { return false }
    entries[index].left = true
    count -= 1
    trim()
    return true
  }

  /// Takes out all whose deadline has passed. Only requests that came back break the order of deadlines, and they
  /// stand at the head, so the search ends at the first other one that is not due.
  mutating func removeExpired(now: Int64) -> [Waiting] {
    var expired: [Waiting] = []
    var index = 0
    while index < entries.count {
      let waiting = entries[index].waiting
      if !entries[index].left {
        if waiting.deadline <= now {
          entries[index].left = true
          count -= 1
          expired.append(waiting)
        } else if !waiting.cameBack {
          break
        }
      }
      index += 1
    }
    trim()
    return expired
  }

  /// The earliest deadline, by the same argument.
  var earliestDeadline: Int64? {
    var earliest: Int64?
    for entry in entries where !entry.left {
      earliest = min(earliest ?? .max, entry.waiting.deadline)
      if !entry.waiting.cameBack { break }
    }
    return earliest
  }

  /// Takes all out.
  mutating func removeAll() -> [Waiting] {
    let all = entries.filter { !$0.left }.map(\.waiting)
    entries.removeAll()
    count = 0
    return all
  }

  private mutating func trim() {
    while let head = entries.first, head.left { entries.removeFirst() }
    if entries.count > 64, entries.count > 2 * count { entries.removeAll(where: \.left) }
  }

  private func lowerBound(_ id: RequestID) -> Int {
    var low = 0
    var high = entries.count
    while low < high {
      let middle = (low + high) / 2
      if entries[middle].waiting.id < id { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
