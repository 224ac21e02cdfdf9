/// The dispatchers one event loop looked up lately, by the label in the target: a lookup takes no lock and makes no
/// text. It is empty again whenever functions came or went.
struct RouteCache {
  /// Labels at most; beyond it the cache begins anew.
  static let limit = 4096

  private struct Entry {
    let label: [UInt8]
    let dispatcher: FunctionDispatcher
  }

  private var slots: [Entry?] = []
  private var count = 0
  private var generation = 0

  /// The dispatcher of a label (`NAME` or `NAME.NAMESPACE`).
  mutating func dispatcher(_ target: FunctionTarget, _ bytes: UnsafeRawBufferPointer, _ table: RouteTable)
    -> FunctionDispatcher?
  {
    let label = target.label.of(bytes)
    let current = table.generation
    if current != generation || count > Self.limit {
      generation = current
      slots = []
      count = 0
    }
    if let found = find(label) { return found }
    let key = "\(target.namespace(bytes))/\(target.function(bytes))"
    guard let dispatcher = table.dispatcher(key) else { return nil }
    insert(Entry(label: Array(label), dispatcher: dispatcher))
    return dispatcher
  }

  private func find(_ label: UnsafeRawBufferPointer) -> FunctionDispatcher? {
    guard !slots.isEmpty else { return nil }
    var index = Self.hash(label) & (slots.count - 1)
    while let entry = slots[index] {
      if entry.label.count == label.count, entry.label.elementsEqual(label) { return entry.dispatcher }
      index = (index + 1) & (slots.count - 1)
    }
    return nil
  }

  private mutating func insert(_ entry: Entry) {
    // At most half full, so that a search ends soon.
    if 2 * (count + 1) > slots.count {
      let old = slots
      slots = Array(repeating: nil, count: max(64, 2 * old.count))
      for case .some(let entry) in old { place(entry) }
    }
    place(entry)
    count += 1
  }

  private mutating func place(_ entry: Entry) {
    var index = entry.label.withUnsafeBytes { Self.hash($0) } & (slots.count - 1)
    while slots[index] != nil { index = (index + 1) & (slots.count - 1) }
    slots[index] = entry
  }

  /// FNV-1a. Labels are those of known functions only, so nobody fills the table with collisions of his choice.
  private static func hash(_ bytes: UnsafeRawBufferPointer) -> Int {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    return Int(truncatingIfNeeded: hash ^ hash >> 32)
  }
}
