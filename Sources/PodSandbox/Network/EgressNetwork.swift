import CLinux
package import ClusterModel
import Glibc

/// What a node opens to its pods with `egress: internet`, and what that needs of the host. Pure but for the looks at files.
package struct EgressNetwork: Sendable, Hashable {
  /// Ranges that are reached although they are part of no public network.
  package var allowed: [AddressRange]

  /// What a node opens; nothing by default.
  package init(allowed: [AddressRange] = []) { self.allowed = allowed }

  /// Ranges a node opens at most.
  package static let rangesMax = Int(APUS_EGRESS_RANGES_MAX)

  /// What is wrong with a range that a node is to open; nil for nothing.
  package static func problem(withRange text: String) -> String? {
    guard AddressRange(text) != nil, let address = AddressRange.address(address(of: text)) else {
      return "\"\(text)\" is no range of addresses; use 10.0.0.0/8"
    }
    guard address.count == 4 else { return "\"\(text)\": only IPv4 leaves a pod; use 10.0.0.0/8" }
    guard apus_egress_never(word(address)) == 0 else {
      return "\"\(text)\" begins with addresses of this host, link-local or reserved ones, which are never opened"
    }
    return nil
  }

  /// What becomes of packets to an address.
  package enum Verdict: Sendable, Hashable {
    /// The pod is told that it may not.
    case refused
    /// They leave, unless the address is the host's own.
    case leaves
  }

  /// Decides over packets to an IPv4 address (4 bytes), as apus-egress does.
  package func verdict(of address: [UInt8]) -> Verdict {
    let ranges = allowed.map(Self.range)
    let verdict = ranges.withUnsafeBufferPointer {
      apus_egress_judge_address(Self.word(address), $0.baseAddress, $0.count)
    }
    return verdict == APUS_EGRESS_ROUTE ? .leaves : .refused
  }

  /// The command line of apus-egress.
  var arguments: [String] { [Self.program] + allowed.map(\.description) }

  private static func range(_ range: AddressRange) -> apus_egress_range {
    let parts = range.description.split(separator: "/")
    let prefix = parts.count > 1 ? UInt32(parts[1]) ?? 32 : 32
    let mask: UInt32 = prefix == 0 ? 0 : ~0 << (32 - prefix)
    return apus_egress_range(network: word(AddressRange.address(String(parts[0])) ?? []) & mask, mask: mask)
  }

  private static func address(of range: String) -> String { String(range.prefix { $0 != "/" }) }

  private static func word(_ address: [UInt8]) -> UInt32 {
    address.count == 4 ? address.reduce(0) { $0 << 8 | UInt32($1) } : 0
  }
}

extension EgressNetwork {
  /// Where the program lies in its root.
  static let program = "/runtime/apus-egress"
  /// The stack it loads.
  static let libraryName = "libslirp.so.0"
  /// How a host gets it.
  static let advice = "for functions with egress: internet: apt-get install libslirp0"
  /// /etc/resolv.conf of every pod. A pod without `egress: internet` has no route there and is told so at once.
  package static let resolvers = "nameserver 192.0.0.3\n"

  /// The library's file on this host; nil when it has none.
  static func library(in folders: [String]) -> String? {
    folders.map { "\($0)/\(libraryName)" }.first { access($0, R_OK) == 0 }
  }

  /// What this host lacks for `egress: internet`, with what to do about it; nil when nothing.
  package static func lack() -> (what: String, advice: String)? {
    #if arch(x86_64)
      let machine = "x86_64"
    #else
      let machine = "aarch64"
    #endif
    let folders = ["/usr/lib/\(machine)-linux-gnu", "/lib/\(machine)-linux-gnu", "/usr/lib64", "/lib64", "/usr/lib"]
    if library(in: folders) == nil { return ("\(libraryName) not found", advice) }
    let device = open("/dev/net/tun", O_RDWR | O_CLOEXEC)
    guard device >= 0 else {
      return (
        "/dev/net/tun: \(SandboxError.text(errno))", "for functions with egress: internet: modprobe tun, as root"
      )
    }
    close(device)
    return nil
  }
}
