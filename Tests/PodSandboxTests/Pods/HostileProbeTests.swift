import ClusterTestSupport
import Foundation
import PodSandbox
import Testing

/// Every probe is tried beside a pod that lives, with real targets on the host and in that pod.
@Suite("Hostile probes", .timeLimit(.minutes(2)))
struct HostileProbeTests {
  /// What is there for a process of the host, so that being kept from it means something.
  private static let reachable = [
    "signal_host", "pidfd_host", "read_host_file", "host_loopback", "host_abstract_socket", "signal_pod",
    "pidfd_pod", "pod_loopback", "pod_abstract_socket", "pod_shared_memory", "pod_file",
  ]

  /// Runs the probes in a pod beside a neighbour that came the same way, of the same zygote if it is one.
  private func probe(_ way: PodWay, seccomp: Bool = true, lean: Bool = true) async throws -> [String: String] {
    let targets = try await Targets()
    let (code, other) = (try targets.code(), try targets.code())
    var results: [String: String] = [:]
    try await withPodHost { host in
      let zygote = way == .zygote ? try await host.zygote(lean: lean) : nil
      let neighbour = try await targets.neighbour(host, way: way, code: other.path, zygote: zygote)
      let done = try await host.run(
        ["/function/hostile"] + targets.arguments(neighbour), way: way, code: code.path, zygote: zygote
      ) { $0.stem.seccomp = seccomp }
      #expect(done.exit.exitCode == 0, "\(done.exit.reason) \(done.err)")
      #expect(host.spawner.signal(neighbour.sandbox, 0), "the neighbour lives")
      results = Targets.results(done.out)
    }
    return results
  }

  private static func open(_ results: [String: String]) -> [String] {
    results.filter { !$0.value.hasPrefix("blocked") }.map { "\($0.key) \($0.value)" }.sorted()
  }

  @Test func `what the probes try to reach is open to a process of the host`() async throws {
    let targets = try await Targets()
    #expect(try await targets.openOnHost(Self.reachable) == Set(Self.reachable))
  }

  @Test(arguments: PodWay.allCases) func `every probe is blocked in a pod`(_ way: PodWay) async throws {
    let results = try await probe(way)
    #expect(results.count >= 110 && results["pod_loopback"] != nil)
    #expect(Self.open(results) == [])
  }

  @Test func `every probe is blocked in a pod of a zygote with the common modules`() async throws {
    let results = try await probe(.zygote, lean: false)
    #expect(results.count >= 110 && results["zygote_descriptors"] == "blocked")
    #expect(Self.open(results) == [])
  }

  @Test(arguments: [PodWay.start, .zygote])
  func `without the filter some of them open, so the filter matters`(_ way: PodWay) async throws {
    let results = try await probe(way, seccomp: false)
    let open = Set(results.filter { $0.value.hasPrefix("open") }.keys)
    #expect(open.contains("vm_read"))
    #expect(open.contains("ptrace_me"))
    #expect(open.contains("unshare_user"))
    // What the rest of the sandbox holds back by itself, filter or not.
    let held: Set = [
      "mount_tmpfs", "read_host_file", "climb_out", "climb_by_descriptor", "signal_host", "host_loopback", "internet",
      "become_root", "disk", "host_abstract_socket", "proc_kcore", "write_root", "stray_descriptors", "signal_pod",
      "pidfd_pod", "ptrace_pod", "memory_of_pod", "root_of_pod", "pod_loopback", "pod_abstract_socket",
      "pod_shared_memory", "pod_file",
    ]
    #expect(open.isDisjoint(with: held))
  }
}

/// A TCP and an abstract unix socket that anyone on the host could connect to.
final class HostServers {
  let port: Int
  let abstractName: String
  private let tcp: CInt
  private let unix: CInt

  /// On loopback, or on every address of this machine.
  init(everywhere: Bool = false) throws {
    let name = "apus-test-\(UInt32.random(in: 0 ... .max))"
    let tcp = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = everywhere ? 0 : UInt32(0x7f00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let listening = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(tcp, $0, size) == 0 && listen(tcp, 4) == 0 && getsockname(tcp, $0, &size) == 0
      }
    }
    try #require(listening)
    port = Int(UInt16(bigEndian: address.sin_port))
    let unix = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var local = sockaddr_un()
    local.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &local.sun_path) {
      UnsafeMutableRawBufferPointer(rebasing: $0[1...]).copyBytes(from: name.utf8)
    }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + 1 + name.utf8.count)
    let ready = withUnsafePointer(to: &local) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(unix, $0, length) == 0 && listen(unix, 4) == 0 }
    }
    try #require(ready)
    abstractName = name
    self.tcp = tcp
    self.unix = unix
  }

  deinit {
    close(tcp)
    close(unix)
  }
}
