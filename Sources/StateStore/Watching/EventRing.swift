/// The newest revisions in memory, bounded in events and in bytes.
struct EventRing: Sendable {
  let eventsMax: Int
  let bytesMax: Int
  /// Every revision after this one is in the ring.
  private(set) var floor: Int64
  private var batches: [StoreWatchBatch] = []
  private var weights: [Int] = []
  private var first = 0
  private var events = 0
  private var bytes = 0

  init(floor: Int64, eventsMax: Int, bytesMax: Int) {
    self.floor = floor
    self.eventsMax = eventsMax
    self.bytesMax = bytesMax
  }

  mutating func append(_ batch: StoreWatchBatch) {
    let weight = batch.events.reduce(64) { $0 + $1.weight }
    batches.append(batch)
    weights.append(weight)
    events += batch.events.count
    bytes += weight
    // The newest revision always stays, however large.
    while first < batches.count - 1, events > eventsMax || bytes > bytesMax { dropFirst() }
    if first > 1_024, first > batches.count / 2 {
      batches.removeSubrange(..<first)
      weights.removeSubrange(..<first)
      first = 0
    }
  }

  /// Forgets the revisions up to and including `revision`.
  mutating func drop(through revision: Int64) {
    while first < batches.count, batches[first].revision <= revision { dropFirst() }
    floor = max(floor, revision)
  }

  /// The batches after `revision`; nil when the ring no longer reaches that far back.
  func batches(after revision: Int64) -> ArraySlice<StoreWatchBatch>? {
    guard revision >= floor else { return nil }
    var low = first
    var high = batches.count
    while low < high {
      let middle = (low + high) / 2
      if batches[middle].revision <= revision { low = middle + 1 } else { high = middle }
    }
    return batches[low...]
  }

  private mutating func dropFirst() {
    let batch = batches[first]
    floor = batch.revision
    events -= batch.events.count
    bytes -= weights[first]
    batches[first] = StoreWatchBatch(revision: batch.revision, events: [])
    first += 1
  }
}
