import ClusterModel

/// The numbers that pods of this node get: user, group and socket follow from them. Pure.
///
/// A number is free again when its pod is gone for good; the one freed longest ago is taken first.
struct SlotTable: Sendable {
  private let end: Int
  private var untouched: Int
  private var free: [Int] = []
  private var freeStart = 0
  private(set) var used: Set<Int> = []

  /// A table of numbers from `first` on, none beyond `Limits.slots`.
  init(first: Int = 0, count: Int = Limits.slots) {
    untouched = first
    end = min(first + count, Limits.slots)
  }

  /// A free number, or nil when every one is taken.
  mutating func take() -> Int? {
    let slot: Int
    if untouched < end {
      slot = untouched
      untouched += 1
    } else if freeStart < free.count {
      slot = free[freeStart]
      freeStart += 1
      if freeStart > 1024, freeStart * 2 > free.count {
        free.removeFirst(freeStart)
        freeStart = 0
      }
    } else {
      return nil
    }
    used.insert(slot)
    return slot
  }

  /// Gives a number back.
  mutating func give(_ slot: Int) {
    guard used.remove(slot) != nil else { return }
    free.append(slot)
  }
}
