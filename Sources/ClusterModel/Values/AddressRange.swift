import Glibc

/// A range of IP addresses, `10.0.0.0/8` or `fd00::/8`; a single address is a range of one.
package struct AddressRange: Hashable, Sendable, CustomStringConvertible {
  private let bytes: [UInt8]
  private let prefix: Int
  /// The range as it was written.
  package let description: String

  /// Reads CIDR notation or an address; nil for anything else.
  package init?(_ text: String) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    guard let bytes = Self.address(String(parts[0])) else { return nil }
    var prefix = bytes.count * 8
    if parts.count == 2 {
      let digits = parts[1]
      guard !digits.isEmpty, digits.count <= 3, digits.allSatisfy({ ("0"..."9").contains($0) }),
        let length = Int(digits), length <= prefix
      else { return nil }
      prefix = length
    }
    self.bytes = bytes
    self.prefix = prefix
    description = text
  }

  /// Whether an address, 4 or 16 bytes, lies in the range; one of the other family does not.
  package func contains(_ address: [UInt8]) -> Bool {
    guard address.count == bytes.count else { return false }
    for bit in stride(from: 0, to: prefix, by: 8) {
      let mask = UInt8(truncatingIfNeeded: 0xFF00 >> min(8, prefix - bit))
      if address[bit / 8] & mask != bytes[bit / 8] & mask { return false }
    }
    return true
  }

  /// The bytes of an IPv4 or IPv6 address as text, network order; an IPv4 address inside IPv6 (`::ffff:a.b.c.d`) is
  /// taken out. Nil for anything else.
  package static func address(_ text: String) -> [UInt8]? {
    var four = in_addr()
    if inet_pton(AF_INET, text, &four) == 1 { return withUnsafeBytes(of: four) { Array($0) } }
    var six = in6_addr()
    guard inet_pton(AF_INET6, text, &six) == 1 else { return nil }
    let bytes = withUnsafeBytes(of: six) { Array($0) }
    let mapped = bytes[..<10].allSatisfy { $0 == 0 } && bytes[10] == 255 && bytes[11] == 255
    return mapped ? Array(bytes[12...]) : bytes
  }
}
