import ClusterModel

/// `X-Timeout`: what a caller grants a call, from the end of its head to the end of its answer, the wait for a pod too.
enum CallTimeout {
  /// Bytes of a value at most.
  private static let bytesMax = 32
  /// The longest that is told from none; more cannot shorten anything.
  private static let longest = TimeSpan.seconds(86_400)

  /// What a value has to look like.
  static let rule = "X-Timeout must be a duration of 1ms or more, such as 250ms, 3s or 1m30s, or a number of seconds"

  /// Nanoseconds of a value: a duration as in a manifest, or seconds; nil for anything else, and for less than 1 ms.
  static func nanoseconds(_ bytes: UnsafeRawBufferPointer) -> Int64? {
    guard (1...bytesMax).contains(bytes.count) else { return nil }
    let text = String(decoding: bytes, as: UTF8.self)
    let isNumber = bytes.allSatisfy { (48...57).contains($0) || $0 == UInt8(ascii: ".") }
    guard let span = TimeSpan(isNumber ? text + "s" : text), span.milliseconds >= 1 else { return nil }
    return min(span, longest).milliseconds &* 1_000_000
  }
}
