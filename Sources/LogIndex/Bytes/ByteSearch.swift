internal import Glibc

/// Finds bytes in bytes, exactly.
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
    while start <= last {
      if raw.loadUnaligned(fromByteOffset: start, as: UInt32.self) == head,
        memcmp(text + start, needle, count) == 0
      {
        return start
      }
      start += 1
    }
    return nil
  }
}
