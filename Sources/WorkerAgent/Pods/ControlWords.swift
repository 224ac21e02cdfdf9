import CLinux

/// What a pod has said on its control pipe.
///
/// A command that was made ahead says `w` when it waits. What makes it a pod says `s` and the time, sixteen hexadecimal
/// digits, before anything of the function runs. Any other byte says that the function is loaded.
struct ControlWords: Hashable, Sendable {
  /// An interpreter waits for its function.
  private(set) var waits = false
  /// When the function's command began, nanoseconds of the monotonic clock; nil until it was said.
  private(set) var began: Int64?
  /// The function is loaded.
  private(set) var isLoaded = false

  private static let digits = 16

  /// Takes in what was read at once; each word is written at once, so none is cut in two.
  mutating func take(_ bytes: some Collection<UInt8>) {
    var rest = bytes[...]
    while let first = rest.popFirst() {
      if first == UInt8(APUS_CONTROL_WAITS.rawValue) {
        waits = true
      } else if first == UInt8(APUS_CONTROL_BEGINS.rawValue), began == nil,
        let time = Self.number(rest.prefix(Self.digits))
      {
        began = time
        rest = rest.dropFirst(Self.digits)
      } else {
        isLoaded = true
      }
    }
  }

  private static func number(_ digits: some Collection<UInt8>) -> Int64? {
    guard digits.count == Self.digits else { return nil }
    return Int64(String(decoding: digits, as: UTF8.self), radix: 16)
  }
}
