import ClusterModel

/// A UUIDv7 (RFC 9562, 5.7) as two words, the first in front: milliseconds, the version and twelve random bits; the variant
/// and 62 random bits.
struct UUIDWords {
  let high: UInt64
  let low: UInt64

  /// A new one of that moment.
  init(at time: Timestamp, using random: inout LoopRandom) {
    high = UInt64(max(0, time.milliseconds)) << 16 | 0x7000 | (random.next() & 0x0FFF)
    low = 0x8000_0000_0000_0000 | (random.next() & 0x3FFF_FFFF_FFFF_FFFF)
  }
}

extension ByteWriter {
  /// A call id, 36 bytes.
  mutating func put(uuid: UUIDWords) {
    put(hex: uuid.high >> 32, digits: 8)
    put(byte: UInt8(ascii: "-"))
    put(hex: uuid.high >> 16 & 0xFFFF, digits: 4)
    put(byte: UInt8(ascii: "-"))
    put(hex: uuid.high & 0xFFFF, digits: 4)
    put(byte: UInt8(ascii: "-"))
    put(hex: uuid.low >> 48, digits: 4)
    put(byte: UInt8(ascii: "-"))
    put(hex: uuid.low & 0xFFFF_FFFF_FFFF, digits: 12)
  }

  /// A new `traceparent` (W3C Trace Context), sampled, 55 bytes. The trace's id is the call's, so that one is found by the
  /// other; the span's id follows from it by the finalizer of SplitMix64 (Steele, Lea and Flood 2014).
  mutating func put(traceparent trace: UUIDWords) {
    var span = trace.low &* 0xBF58_476D_1CE4_E5B9 ^ trace.high
    span = (span ^ span >> 27) &* 0x94D0_49BB_1331_11EB
    put("00-")
    put(hex: trace.high, digits: 16)
    put(hex: trace.low, digits: 16)
    put("-")
    put(hex: (span ^ span >> 31) | 1, digits: 16)
    put("-01")
  }
}
