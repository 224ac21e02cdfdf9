internal import Glibc

/// Finds bytes in bytes, in time that grows with the text whatever the needle: where too many beginnings of it are there,
/// it goes on without ever looking back.
enum ByteSearch {
  /// The offset of the first place of `needle` in `text`; 0 for an empty needle.
  @inline(__always) static func find(
    _ needle: UnsafePointer<UInt8>, _ count: Int, in text: UnsafePointer<UInt8>, _ length: Int
  ) -> Int? {
    if count == 0 { return 0 }
    guard count <= length else { return nil }
    let last = length - count
    if count < 4 {
      for start in 0...last where memcmp(text + start, needle, count) == 0 { return start }
      return nil
    }
    let head = UnsafeRawPointer(needle).loadUnaligned(as: UInt32.self)
    let raw = UnsafeRawPointer(text)
    var start = 0
    var wasted = 0
    while start <= last {
      if raw.loadUnaligned(fromByteOffset: start, as: UInt32.self) == head {
        if memcmp(text + start, needle, count) == 0 { return start }
        wasted += count
        if wasted > Self.waste(length) {
          return steadily(
            UnsafeBufferPointer(start: needle, count: count), in: UnsafeBufferPointer(start: text, count: length),
            from: start + 1
          ) { $0 }
        }
      }
      start += 1
    }
    return nil
  }

  /// Comparisons that may lead to nothing before the search goes on steadily.
  @inline(__always) static func waste(_ length: Int) -> Int { length * 4 + 4_096 }

  /// The same by Knuth, Morris and Pratt: each byte of the text, folded, is looked at twice at most.
  static func steadily(
    _ needle: UnsafeBufferPointer<UInt8>, in text: UnsafeBufferPointer<UInt8>, from: Int,
    _ folded: (UInt8) -> UInt8
  ) -> Int? {
    var back = Array(repeating: 0, count: needle.count)
    var matched = 0
    for index in needle.indices.dropFirst() {
      while matched > 0, needle[index] != needle[matched] { matched = back[matched - 1] }
      if needle[index] == needle[matched] { matched += 1 }
      back[index] = matched
    }
    matched = 0
    for index in from..<max(from, text.count) {
      let byte = folded(text[index])
      while matched > 0, byte != needle[matched] { matched = back[matched - 1] }
      if byte == needle[matched] { matched += 1 }
      if matched == needle.count { return index + 1 - matched }
    }
    return nil
  }
}
