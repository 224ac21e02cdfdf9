import ClusterTestSupport
import Foundation
import PodSandbox
import Testing

/// The ways a pod comes to its command.
enum PodWay: String, CaseIterable, Sendable {
  /// Started from nothing.
  case start
  /// A stem that executes the command when it is bound.
  case stem
  /// A stem with a command that waits.
  case warm
  /// A fork of a Python zygote.
  case zygote
}

@Suite("Hostile probes", .timeLimit(.minutes(2)))
struct HostileProbeTests {
  /// Runs every probe in a pod, beside a neighbour and with real targets on the host.
  private func probe(_ way: PodWay, seccomp: Bool) async throws -> [String: String] {
    let folder = try TemporaryFolder()
    chmod(folder.path, 0o755)
    try await compile(TestPaths.source("hostile.c"), to: "\(folder.path)/hostile")
    let victim = try TemporaryFolder("apus-victim")
    chmod(victim.path, 0o755)
    let secret = "\(victim.path)/readable"
    try "host data".write(toFile: secret, atomically: true, encoding: .utf8)
    chmod(secret, 0o644)
    let server = try HostServers()
    var results: [String: String] = [:]
    try await withPodHost { host in
      let neighbour = try await host.spawner.start(try await PodHost.spec(["/bin/sleep", "600"]))
      let done = try await host.run(
        [
          "/function/hostile", "\(getpid())", "\(server.port)", secret, server.abstractName, "\(getpid() - 1)",
        ], way: way, code: folder.path
      ) { $0.stem.seccomp = seccomp }
      #expect(done.exit.exitCode == 0, "\(done.exit.reason) \(done.err)")
      #expect(host.spawner.signal(neighbour, 0), "the neighbour lives")
      for line in done.out.split(separator: "\n") {
        let words = line.split(separator: " ", maxSplits: 1).map(String.init)
        if words.count == 2 { results[words[0]] = words[1] }
      }
    }
    return results
  }

  @Test(arguments: PodWay.allCases) func `every probe is blocked in a pod`(_ way: PodWay) async throws {
    let results = try await probe(way, seccomp: true)
    #expect(results.count >= 100)
    let open = results.filter { !$0.value.hasPrefix("blocked") }.map(\.key).sorted()
    #expect(open == [])
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
      "become_root", "disk", "host_abstract_socket", "proc_kcore", "write_root", "stray_descriptors",
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
