/// What may stand in `X-Callback-Url`, and which addresses a callback may go to; pure.
package struct CallbackRules: Hashable, Sendable {
  /// Ranges a callback may go to although they are not public.
  package var allowed: [AddressRange]

  /// Rules with exceptions; none by default.
  package init(allowed: [AddressRange] = []) { self.allowed = allowed }

  /// A callback's URL taken apart.
  package struct Target: Hashable, Sendable {
    /// Whether it is `https`.
    package var isSecure: Bool
    /// The host, a name or an address without brackets.
    package var host: String
    /// The port; 80 or 443 when not named.
    package var port: Int
  }

  /// Ranges that are no part of the public internet: this host, private and shared networks, link-local, benchmarks,
  /// multicast, reserved, and IPv6 forms that carry an IPv4 address.
  private static let refused: [AddressRange] = [
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3", "::/96",
    "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001:db8::/32", "2002::/16", "2001::/32", "fc00::/7", "fe80::/9",
    "ff00::/8",
  ].compactMap { AddressRange($0) }

  /// Why a callback may not go to an address (4 or 16 bytes); nil when it may.
  package func refusal(of address: [UInt8]) -> String? {
    if allowed.contains(where: { $0.contains(address) }) { return nil }
    guard let range = Self.refused.first(where: { $0.contains(address) }) else { return nil }
    return "its address lies in \(range); callbacks go to public addresses, or to those of --callback-allow"
  }

  /// Takes a URL apart, or says what is wrong with it; the address is looked at when the callback is sent.
  package static func check(_ url: String) -> Result<Target, Fault> {
    guard url.utf8.count <= Limits.callbackURL else {
      return .failure(Fault("X-Callback-Url is longer than \(Limits.callbackURL) bytes"))
    }
    guard url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\\") && $0 != UInt8(ascii: "#") }) else {
      return .failure(Fault("X-Callback-Url holds a character that must be percent-encoded"))
    }
    let lower = url.lowercased()
    let isSecure = lower.hasPrefix("https://")
    guard isSecure || lower.hasPrefix("http://") else {
      return .failure(Fault("X-Callback-Url is not a URL of http or https"))
    }
    let rest = url.dropFirst(isSecure ? 8 : 7)
    let authority = rest.prefix { $0 != "/" && $0 != "?" }
    guard !authority.contains("@") else { return .failure(Fault("X-Callback-Url names a user; leave it out")) }
    guard let (host, port) = split(String(authority)) else {
      return .failure(Fault("X-Callback-Url names no host"))
    }
    return .success(Target(isSecure: isSecure, host: host, port: port ?? (isSecure ? 443 : 80)))
  }

  /// What is wrong with a URL.
  package struct Fault: Error, Hashable, Sendable {
    /// A sentence for the caller.
    package let message: String

    init(_ message: String) { self.message = message }
  }

  private static func split(_ authority: String) -> (String, Int?)? {
    var host = authority[...]
    var port: Substring?
    if authority.hasPrefix("[") {
      guard let end = authority.firstIndex(of: "]") else { return nil }
      host = authority[authority.index(after: authority.startIndex)..<end]
      let rest = authority[authority.index(after: end)...]
      guard rest.isEmpty || rest.hasPrefix(":") else { return nil }
      port = rest.isEmpty ? nil : rest.dropFirst()
      guard AddressRange.address(String(host)) != nil else { return nil }
    } else {
      if let colon = authority.lastIndex(of: ":") {
        host = authority[..<colon]
        port = authority[authority.index(after: colon)...]
      }
      let isName = host.utf8.allSatisfy { byte in
        (97...122).contains(byte) || (65...90).contains(byte) || (48...57).contains(byte) || byte == 45 || byte == 46
          || byte == 95
      }
      guard !host.isEmpty, host.utf8.count <= 253, isName else { return nil }
    }
    guard let port else { return (String(host), nil) }
    guard port.count <= 5, port.allSatisfy({ ("0"..."9").contains($0) }), let number = Int(port),
      (1...65_535).contains(number)
    else { return nil }
    return (String(host), number)
  }
}
