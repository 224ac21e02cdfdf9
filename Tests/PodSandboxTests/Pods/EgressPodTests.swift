import ClusterModel
import ClusterTestSupport
import Foundation
import Synchronization
import Testing

@testable import PodSandbox

/// Real pods with a way out, beside another machine and a server of this one.
@Suite("Egress pods", .timeLimit(.minutes(2)))
struct EgressPodTests {
  /// A pod with a way to what `allowed` opens, told to run the probes with these attempts; their results by attempt.
  private func attempts(
    _ allowed: [String], _ host: PodHost, _ attempts: [String], probe: String = "egress",
    whileItRuns: (Sandbox, EgressProcess) async throws -> Void = { _, _ in }
  ) async throws -> [String: String] {
    let folder = try TemporaryFolder()
    chmod(folder.path, 0o755)
    try await compile(TestPaths.source("\(probe).c"), to: "\(folder.path)/probe")
    let resolvers = try Self.resolvers(of: allowed)
    let (out, err) = (try Captured(), try Captured())
    defer { for pipe in [out, err] { pipe.closeWriter() } }
    var spec = try await PodHost.spec(["/function/probe"] + attempts)
    spec.bind.codePath = folder.path
    spec.bind.limits.pids += EgressProcess.processes
    spec.stem.stdout = out.writer
    spec.stem.stderr = err.writer
    let stem = try await host.spawner.prepare(spec.stem)
    let (pod, process) = try await Self.carry(stem, allowed, resolvers.path, host) {
      try host.spawner.bind(stem, spec.bind)
    }
    for pipe in [out, err] { pipe.closeWriter() }
    try await whileItRuns(pod, process)
    let exit = try await host.exit(of: pod)
    #expect(exit.exitCode == 0, "\(exit.reason) \(err.soFar) \(process.lastWords())")
    process.stop()
    _ = try await host.exit(of: process.sandbox)
    var results: [String: String] = [:]
    for line in await out.all().split(separator: "\n") {
      let words = line.split(separator: " ", maxSplits: 1).map(String.init)
      if words.count == 2 { results[words[0]] = words[1] }
    }
    return results
  }

  /// A resolv.conf that names the other machine.
  private static func resolvers(of allowed: [String]) throws -> TemporaryFolder {
    let folder = try TemporaryFolder("apus-resolv")
    chmod(folder.path, 0o755)
    let server = (allowed.first ?? "198.18.0.0/24").replacing(".0/24", with: ".2")
    try "nameserver \(server)\n".write(toFile: "\(folder.path)/resolv.conf", atomically: true, encoding: .utf8)
    chmod("\(folder.path)/resolv.conf", 0o644)
    return folder
  }

  private static func carry(
    _ stem: Stem, _ allowed: [String], _ resolvers: String, _ host: PodHost, bind: () throws -> Sandbox
  ) async throws -> (Sandbox, EgressProcess) {
    let forwarder = try PortForwarder()
    defer { forwarder.stop() }
    let interface = try await EgressProcess.interface(of: stem.sandbox, through: forwarder)
    defer { close(interface) }
    let pod = try bind()
    let program = RuntimeFile(source: "\(TestPaths.products)/apus-egress", destination: "/runtime/apus-egress")
    let plan = EgressProcess.Plan(
      root: try await RootBuilder(folder: TestPaths.roots, logger: quiet)
        .root(for: RootRequest(kind: .egress, runtimeFiles: [program])),
      folder: resolvers, network: EgressNetwork(allowed: allowed.compactMap { AddressRange($0) }))
    return (pod, try await EgressProcess.start(plan, for: pod, interface: interface, by: host.spawner))
  }

  @Test func `it reaches another machine by TCP, UDP and the host's resolver, and nothing that is not opened`()
    async throws
  {
    try await FarNetwork.with(server: TestPaths.source("far_server.py")) { far in
      let server = try HostServers(everywhere: true)
      let own = server.port
      let open = ["tcp", "udp", "bound", "directed", "steered"].map { "\($0):\(far.address):\(far.port)" }
      let ways = ["tcp", "bound", "directed"]
      let hidden = [
        "127.0.0.1:\(own)", "\(far.near):\(own)", "192.0.0.1:\(own)", "192.0.0.3:\(own)", "169.254.169.254:80",
        "10.255.255.1:80", "192.168.255.1:80", "172.31.255.1:80", "100.127.255.1:80", "255.255.255.255:80",
      ]
      let addresses = try Self.ownAddresses().map { "\($0):\(own)" }
      let closed = ways.flatMap { way in (hidden + addresses).map { "\(way):\($0)" } }
      let changes = ["route", "address", "down", "mtu", "interface", "forward"].map { "change:\($0)" }
      try await withPodHost { host in
        let results = try await attempts([far.range], host, open + ["dns:far.example"] + closed + changes)
        #expect(results["tcp:\(far.address):\(far.port)"] == "open far \(far.near)")
        #expect(results["udp:\(far.address):\(far.port)"] == "open far ask")
        #expect(results["dns:far.example"] == "open 203.0.113.7")
        for attempt in open { #expect(results[attempt]?.hasPrefix("open far") == true, "\(attempt)") }
        for attempt in closed + changes {
          #expect(results[attempt]?.hasPrefix("blocked") == true, "\(attempt): \(results[attempt] ?? "no word")")
        }
        // The same pod where the node opens nothing.
        let strict = try await attempts([], host, open)
        for attempt in open { #expect(strict[attempt]?.hasPrefix("blocked") == true, "\(attempt)") }
      }
      withExtendedLifetime(server) {}
    }
  }

  /// Every IPv4 address this machine has.
  private static func ownAddresses() throws -> [String] {
    var list: UnsafeMutablePointer<ifaddrs>?
    try #require(getifaddrs(&list) == 0)
    defer { freeifaddrs(list) }
    var found: [String] = []
    var next = list
    while let entry = next {
      next = entry.pointee.ifa_next
      guard let address = entry.pointee.ifa_addr, address.pointee.sa_family == sa_family_t(AF_INET) else { continue }
      var internet = UnsafeRawPointer(address).load(as: sockaddr_in.self)
      var text = [CChar](repeating: 0, count: 16)
      inet_ntop(AF_INET, &internet.sin_addr, &text, 16)
      found.append(String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }
    return found
  }

  @Test func `the probes of a hostile function find nothing open that a way out would have opened`() async throws {
    let targets = try await Targets()
    let code = try targets.code()
    try await withPodHost { host in
      let neighbour = try await targets.neighbour(host, code: code.path)
      let results = try await attempts([], host, targets.arguments(neighbour), probe: "hostile")
      #expect(results.count >= 110)
      // What this function asked for; whether it gets there is the host's affair.
      let asked: Set = ["internet", "send_udp"]
      let open = results.filter { !$0.value.hasPrefix("blocked") && !asked.contains($0.key) }.map(\.key).sorted()
      #expect(open == [])
    }
  }

  @Test func `what carries its packets has no privilege, no file of the host, and counts as the pod's`() async throws {
    try await withPodHost { host in
      _ = try await attempts([], host, ["tcp:10.255.255.1:80"]) { pod, process in
        let status = try await Self.program(below: process, host)
        let fields = Dictionary(
          status.text.split(separator: "\n").compactMap { line in
            line.firstIndex(of: ":").map { (String(line[..<$0]), line[line.index(after: $0)...].trimmed) }
          }, uniquingKeysWith: { first, _ in first })
        let user = HostUsers.current.egressUser(ofSlot: pod.slot)
        #expect(fields["Uid"] == "\(user)\t\(user)\t\(user)\t\(user)")
        #expect(fields["Groups"] == "")
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
          #expect(fields[set] == "0000000000000000", "\(set)")
        }
        #expect(fields["NoNewPrivs"] == "1" && fields["Seccomp"] == "2" && fields["Seccomp_filters"] == "2")
        let folder = "/proc/\(status.pid)"
        let names = try FileManager.default.contentsOfDirectory(atPath: "\(folder)/root")
        #expect(Set(names).isDisjoint(with: ["home", "root", "boot", "sys", "opt", "srv"]), "\(names)")
        let groups = try String(contentsOfFile: "\(folder)/cgroup", encoding: .utf8)
        #expect(groups.contains("/apus/\(host.instance)/\(pod.slot)"), "\(groups)")
      }
    }
  }

  /// The process that carries packets, once it waits for them: found by its user, as its pod's numbers are its own.
  private static func program(below process: EgressProcess, _ host: PodHost) async throws -> (pid: Int, text: String) {
    let user = HostUsers.current.egressUser(ofSlot: process.sandbox.slot)
    let place = Mutex<(Int, String)?>(nil)
    _ = await eventually {
      for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? [] {
        guard let pid = Int(name),
          let text = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8),
          text.contains("Uid:\t\(user)\t"), text.hasPrefix("Name:\tapus-egress"), text.contains("Seccomp_filters:\t2")
        else { continue }
        place.withLock { $0 = (pid, text) }
        return true
      }
      return false
    }
    return try #require(place.withLock { $0 }, "no process of user \(user): \(process.lastWords())")
  }

  @Test func `a pod without one still reaches nothing, with the same probes`() async throws {
    try await FarNetwork.with(server: TestPaths.source("far_server.py")) { far in
      let folder = try TemporaryFolder()
      chmod(folder.path, 0o755)
      try await compile(TestPaths.source("egress.c"), to: "\(folder.path)/probe")
      let target = "\(far.address):\(far.port)"
      try await withPodHost { host in
        let done = try await host.run(["/function/probe", "tcp:\(target)", "udp:\(target)", "dns:far.example"]) {
          $0.bind.codePath = folder.path
        }
        let lines = done.out.split(separator: "\n")
        #expect(lines.count == 3 && lines.allSatisfy { $0.hasSuffix("blocked ENETUNREACH") }, "\(done.out)")
      }
    }
  }

  @Test func `the spawner's death takes pod, process and interface with it`() async throws {
    let host = try await PodHost.launch()
    let resolvers = try Self.resolvers(of: [])
    let spec = try await PodHost.spec(["/bin/sleep", "600"])
    let stem = try await host.spawner.prepare(spec.stem)
    let (pod, process) = try await Self.carry(stem, [], resolvers.path, host) {
      try host.spawner.bind(stem, spec.bind)
    }
    let carrier = try await Self.program(below: process, host)
    kill(host.spawner.processID, SIGKILL)
    _ = try await host.exit(of: pod)
    _ = try await host.exit(of: process.sandbox)
    #expect(await eventually { !FileManager.default.fileExists(atPath: "/proc/\(carrier.pid)") })
    await host.spawner.shutdown()
    #expect(host.groupFolders == [])
  }
}

extension Substring {
  fileprivate var trimmed: String { trimmingCharacters(in: .whitespaces) }
}
