/// Numbers by hashes that were mixed already.
struct HashIndex {
  private var hashes: [UInt64] = Array(repeating: 0, count: 256)
  private var numbers: [Int32] = Array(repeating: -1, count: 256)
  private var count = 0

  /// The number kept for a hash; nil when there is none.
  @inline(__always) subscript(_ hash: UInt64) -> Int? {
    var place = Int(truncatingIfNeeded: hash) & (hashes.count - 1)
    while numbers[place] >= 0 {
      if hashes[place] == hash { return Int(numbers[place]) }
      place = (place + 1) & (hashes.count - 1)
    }
    return nil
  }

  /// Keeps a number for a hash that has none.
  mutating func insert(_ hash: UInt64, _ number: Int) {
    if count * 2 >= hashes.count { grow() }
    put(hash, Int32(truncatingIfNeeded: number))
    count += 1
  }

  private mutating func put(_ hash: UInt64, _ number: Int32) {
    var place = Int(truncatingIfNeeded: hash) & (hashes.count - 1)
    while numbers[place] >= 0 { place = (place + 1) & (hashes.count - 1) }
    hashes[place] = hash
    numbers[place] = number
  }

  private mutating func grow() {
    let (oldHashes, oldNumbers) = (hashes, numbers)
    hashes = Array(repeating: 0, count: oldHashes.count * 4)
    numbers = Array(repeating: -1, count: oldHashes.count * 4)
    for (hash, number) in zip(oldHashes, oldNumbers) where number >= 0 { put(hash, number) }
  }
}
