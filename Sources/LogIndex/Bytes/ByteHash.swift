/// Fast hashes of bytes for tables in memory; never written to a file.
enum ByteHash {
  /// Of this process: nobody can know which texts are alike. Tables copy it, which costs less than to ask for it each time.
  static let seed = UInt64.random(in: .min ... .max)

  @inline(__always) static func hash(_ start: UnsafePointer<UInt8>, _ count: Int, seed: UInt64) -> UInt64 {
    var value = (seed ^ UInt64(truncatingIfNeeded: count)) &* 0x9E37_79B9_7F4A_7C15
    let raw = UnsafeRawPointer(start)
    var index = 0
    while index + 8 <= count {
      value = mix(value ^ raw.loadUnaligned(fromByteOffset: index, as: UInt64.self))
      index += 8
    }
    if index < count {
      var rest: UInt64 = 0
      if count - index >= 4 {
        rest = UInt64(raw.loadUnaligned(fromByteOffset: index, as: UInt32.self))
        rest |= UInt64(raw.loadUnaligned(fromByteOffset: count - min(4, count), as: UInt32.self)) << 32
      } else {
        while index < count {
          rest = rest << 8 | UInt64(start[index])
          index += 1
        }
      }
      value = mix(value ^ rest)
    }
    return value
  }

  @inline(__always) static func mix(_ value: UInt64) -> UInt64 {
    let product = (value ^ 0xA076_1D64_78BD_642F).multipliedFullWidth(by: 0xE703_7ED1_A0B4_28DB)
    return product.high ^ product.low
  }
}

/// Where a text lies in a memtable's bytes.
struct Span: Equatable {
  var start: UInt32
  var length: UInt32

  @inline(__always) var end: Int { Int(start) + Int(length) }

  init(_ start: Int, _ end: Int) {
    self.start = UInt32(truncatingIfNeeded: start)
    length = UInt32(truncatingIfNeeded: end - start)
  }

  /// Whether two spans of one buffer are the same text.
  @inline(__always) func isSame(_ other: Span, _ base: UnsafePointer<UInt8>) -> Bool {
    length == other.length && ByteSearch.isSame(base + Int(start), base + Int(other.start), Int(length))
  }

  @inline(__always) func bytes(_ base: UnsafePointer<UInt8>) -> UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(start: base + Int(start), count: Int(length))
  }
}
