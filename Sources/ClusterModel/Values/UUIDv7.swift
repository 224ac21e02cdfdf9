/// Time-ordered identifiers (RFC 9562, version 7): call ids and object uids.
package enum UUIDv7 {
  /// A new identifier's text, 36 characters, from a moment and a source of randomness.
  package static func make(
    at time: Timestamp, using generator: inout some RandomNumberGenerator
  ) -> String {
    let milliseconds = UInt64(max(0, time.milliseconds)) & 0xFFFF_FFFF_FFFF
    let high = milliseconds << 16 | 0x7000 | (generator.next() & 0x0FFF)
    let low = 0x8000_0000_0000_0000 | (generator.next() & 0x3FFF_FFFF_FFFF_FFFF)
    return String(unsafeUninitializedCapacity: 36) { buffer in
      var position = 0
      for index in 0..<32 {
        if index == 8 || index == 12 || index == 16 || index == 20 {
          buffer[position] = 45
          position += 1
        }
        let word = index < 16 ? high : low
        let nibble = UInt8(truncatingIfNeeded: word >> (60 - UInt64(index % 16) * 4)) & 0xF
        buffer[position] = nibble < 10 ? 48 + nibble : 87 + nibble
        position += 1
      }
      return 36
    }
  }

  /// A new identifier from the wall clock and the system's randomness.
  package static func make() -> String {
    var generator = SystemRandomNumberGenerator()
    return make(at: .now(), using: &generator)
  }
}
