internal import Glibc

/// Numbers combinations of texts, each of which may be absent, in the order of their first occurrence.
struct KeyTable: Sendable {
  private static let absent: UInt8 = 0
  private static let present: UInt8 = 1

  private let seed = ByteHash.seed
  private var slots: [Int32] = Array(repeating: -1, count: 64)
  private var hashes: [UInt64] = []
  /// All combinations laid out flat, one after another.
  private var flats: [UInt8] = []
  private var ends: [Int] = []
  private var scratch: [UInt8] = []
  /// The texts of each combination.
  private(set) var combinations: [[[UInt8]?]] = []

  var count: Int { ends.count }

  /// The number of a combination; nil when it is new and there are `most` already, or `bytes` of them with it.
  mutating func number(_ texts: some Sequence<[UInt8]?>, most: Int, bytes: Int) -> Int? {
    scratch.removeAll(keepingCapacity: true)
    for text in texts {
      guard let text else {
        scratch.append(Self.absent)
        continue
      }
      scratch.append(Self.present)
      withUnsafeBytes(of: UInt32(truncatingIfNeeded: text.count)) { scratch.append(contentsOf: $0) }
      scratch.append(contentsOf: text)
    }
    let hash = scratch.withUnsafeBufferPointer { flat in
      flat.baseAddress.map { ByteHash.hash($0, flat.count, seed: seed) } ?? 0
    }
    var place = Int(truncatingIfNeeded: hash) & (slots.count - 1)
    while slots[place] >= 0 {
      let number = Int(slots[place])
      if hashes[number] == hash, isScratch(number) { return number }
      place = (place + 1) & (slots.count - 1)
    }
    guard count < most, flats.count + scratch.count <= bytes else { return nil }
    slots[place] = Int32(truncatingIfNeeded: count)
    hashes.append(hash)
    flats += scratch
    ends.append(flats.count)
    combinations.append(Array(texts))
    if count * 2 > slots.count { grow() }
    return count - 1
  }

  private func isScratch(_ number: Int) -> Bool {
    let start = number == 0 ? 0 : ends[number - 1]
    guard ends[number] - start == scratch.count else { return false }
    return flats.withUnsafeBufferPointer { flats in
      scratch.withUnsafeBufferPointer { scratch in
        guard let left = flats.baseAddress, let right = scratch.baseAddress else { return true }
        return memcmp(left + start, right, scratch.count) == 0
      }
    }
  }

  private mutating func grow() {
    slots = Array(repeating: -1, count: slots.count * 2)
    for (number, hash) in hashes.enumerated() {
      var place = Int(truncatingIfNeeded: hash) & (slots.count - 1)
      while slots[place] >= 0 { place = (place + 1) & (slots.count - 1) }
      slots[place] = Int32(truncatingIfNeeded: number)
    }
  }
}

/// Numbers pairs of a span of time and a combination of keys, in the order of their first occurrence.
struct GroupTable: Sendable {
  private let seed = ByteHash.seed
  private var slots: [Int32] = Array(repeating: -1, count: 256)
  /// Where the span of each group begins.
  private(set) var buckets: [Int64] = []
  /// The number of each group's combination of keys.
  private(set) var keys: [Int32] = []

  var count: Int { keys.count }

  /// The number of a group; nil when it is new and there are `most` already.
  @inline(__always) mutating func number(_ bucket: Int64, _ key: Int, most: Int) -> Int? {
    var place = hash(bucket, key) & (slots.count - 1)
    while true {
      let number = Int(slots[place])
      if number < 0 { break }
      if buckets[number] == bucket, keys[number] == Int32(truncatingIfNeeded: key) { return number }
      place = (place + 1) & (slots.count - 1)
    }
    guard count < most else { return nil }
    slots[place] = Int32(truncatingIfNeeded: count)
    buckets.append(bucket)
    keys.append(Int32(truncatingIfNeeded: key))
    if count * 2 > slots.count { grow() }
    return count - 1
  }

  @inline(__always) private func hash(_ bucket: Int64, _ key: Int) -> Int {
    Int(truncatingIfNeeded: ByteHash.mix(seed ^ UInt64(bitPattern: bucket) ^ UInt64(truncatingIfNeeded: key) << 1))
  }

  private mutating func grow() {
    slots = Array(repeating: -1, count: slots.count * 4)
    for number in keys.indices {
      var place = hash(buckets[number], Int(keys[number])) & (slots.count - 1)
      while slots[place] >= 0 { place = (place + 1) & (slots.count - 1) }
      slots[place] = Int32(truncatingIfNeeded: number)
    }
  }
}
