internal import Glibc

/// Finds bytes in bytes, in time that grows with the text whatever the needle: where too many beginnings of it are there,
/// it goes on without ever looking back.
enum ByteSearch {
  /// Whether so many bytes are the same; quicker than a call for the short texts that most are.
  @inline(__always) static func isSame(
    _ left: UnsafePointer<UInt8>, _ right: UnsafePointer<UInt8>, _ count: Int
  ) -> Bool {
    let (left, right) = (UnsafeRawPointer(left), UnsafeRawPointer(right))
    func differ<Word: FixedWidthInteger>(_ place: Int, _: Word.Type) -> Bool {
      left.loadUnaligned(fromByteOffset: place, as: Word.self)
        != right.loadUnaligned(fromByteOffset: place, as: Word.self)
    }
    if count >= 8 {
      var place = 0
      while place + 8 <= count {
        if differ(place, UInt64.self) { return false }
        place += 8
      }
      return !differ(count - 8, UInt64.self)
    }
    if count >= 4 { return !differ(0, UInt32.self) && !differ(count - 4, UInt32.self) }
    for place in 0..<max(0, count) where differ(place, UInt8.self) { return false }
    return true
  }

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
