/// Which of what is kept gives way when there is no room: what was used least, of equals what came to that last.
///
/// So what a scan reads once takes the place of nothing, and a scan of more than there is room for finds again what it kept
/// the first time. Uses are counted up to a small number, also of what is not kept, and halved now and then: what was used
/// much in former days gives way to what is used now. Each call costs the same however much is kept, the halving spread
/// over the uses before it.
struct CacheOrder: Sendable {
  static let usesMaximum = 3
  /// Names that are remembered; more than that are halved until few are left.
  static let namesMaximum = 1 << 14
  /// Uses are halved after so many for each name.
  private static let usesOfName = 2

  private struct Entry {
    var uses = 0
    /// Of what is kept.
    var bytes: Int?
    /// That of its place among those of as many uses.
    var stamp = 0
  }

  /// Valid while the entry has its stamp.
  private struct Place {
    var name: String
    var stamp: Int
  }

  private let bytesMaximum: Int
  /// Bytes of all that is kept, and how many there are.
  private(set) var bytes = 0
  private(set) var count = 0
  private var entries: [String: Entry] = [:]
  /// By uses: what is kept, in the order in which it came to so many.
  private var ranks: [[Place]] = Array(repeating: [], count: usesMaximum + 1)
  private var stamp = 0
  private var usesSinceHalving = 0

  init(bytesMaximum: Int) { self.bytesMaximum = bytesMaximum }

  /// Notes that somebody asked for it, whether it is kept or not.
  mutating func use(_ name: String) {
    usesSinceHalving += 1
    var entry = entries[name] ?? Entry()
    if entry.uses < Self.usesMaximum {
      entry.uses += 1
      if entry.bytes != nil { push(name, &entry) }
      entries[name] = entry
    }
    if usesSinceHalving > entries.count * Self.usesOfName || entries.count > Self.namesMaximum { halve() }
  }

  /// Keeps it, or corrects its bytes if it is kept; answers what gives way for it, which may be itself. One is always kept.
  mutating func keep(_ name: String, bytes: Int) -> [String] {
    if entries[name]?.bytes != nil { return resize(name, bytes: bytes) }
    var entry = entries[name] ?? Entry()
    entry.bytes = bytes
    push(name, &entry)
    entries[name] = entry
    self.bytes += bytes
    count += 1
    return shrink()
  }

  /// Corrects the bytes of what is kept; answers what gives way.
  mutating func resize(_ name: String, bytes: Int) -> [String] {
    guard let before = entries[name]?.bytes else { return [] }
    entries[name]?.bytes = bytes
    self.bytes += bytes - before
    return shrink()
  }

  /// Forgets it and how often it was used.
  mutating func remove(_ name: String) {
    guard let bytes = entries.removeValue(forKey: name)?.bytes else { return }
    self.bytes -= bytes
    count -= 1
  }

  private mutating func push(_ name: String, _ entry: inout Entry) {
    stamp += 1
    entry.stamp = stamp
    ranks[entry.uses].append(Place(name: name, stamp: stamp))
  }

  private mutating func shrink() -> [String] {
    var gone: [String] = []
    while bytes > bytesMaximum, count > 1, let name = leastUsed() {
      bytes -= entries[name]?.bytes ?? 0
      count -= 1
      entries[name]?.bytes = nil
      gone.append(name)
    }
    return gone
  }

  /// Takes what gives way next off its rank.
  private mutating func leastUsed() -> String? {
    for uses in ranks.indices {
      while let place = ranks[uses].popLast() {
        if isValid(place) { return place.name }
      }
    }
    return nil
  }

  private func isValid(_ place: Place) -> Bool {
    entries[place.name].map { $0.bytes != nil && $0.stamp == place.stamp } ?? false
  }

  private mutating func halve() {
    usesSinceHalving = 0
    let before = ranks
    ranks = ranks.map { _ in [] }
    for (uses, places) in before.enumerated() { ranks[uses / 2] += places.filter { isValid($0) } }
    for (name, entry) in entries {
      if entry.bytes == nil, entry.uses < 2 { entries[name] = nil } else { entries[name]?.uses = entry.uses / 2 }
    }
  }
}
