import ClusterTestSupport
import Foundation
import PodSandbox
import Testing

/// What hostile probes try to reach: a process, a port, a socket and a file of the host that are open to everybody, and
/// another pod that offers as much.
final class Targets {
  private let victim: TemporaryFolder
  private let servers: HostServers
  /// The compiled probes.
  let program: String
  private let build: TemporaryFolder
  private let name = "apus-pod-\(UInt32.random(in: 0 ... .max))"

  init() async throws {
    victim = try TemporaryFolder("apus-victim")
    chmod(victim.path, 0o755)
    try "host data".write(toFile: "\(victim.path)/readable", atomically: true, encoding: .utf8)
    chmod("\(victim.path)/readable", 0o644)
    servers = try HostServers()
    build = try TemporaryFolder()
    chmod(build.path, 0o755)
    program = "\(build.path)/hostile"
    try await compile(TestPaths.source("hostile.c"), to: program)
  }

  /// A folder with the probes, to be a pod's code.
  func code() throws -> TemporaryFolder {
    let folder = try TemporaryFolder()
    chmod(folder.path, 0o755)
    try FileManager.default.copyItem(atPath: program, toPath: "\(folder.path)/hostile")
    return folder
  }

  /// A pod beside the one that tries. It lives until its host ends.
  func neighbour(
    _ host: PodHost, way: PodWay = .start, code: String, zygote: Zygote? = nil,
    edit: (inout SandboxSpec) -> Void = { _ in }
  ) async throws -> StartedPod {
    let pod = try await host.begin(
      ["/function/hostile", "target", name], way: way, code: code, zygote: zygote, edit: edit)
    #expect(await eventually { Self.port(pod) != nil }, "\(pod.out.soFar)\(pod.err.soFar)")
    return pod
  }

  private static func port(_ pod: StartedPod) -> Int? {
    pod.out.soFar.split(separator: "\n").lazy.compactMap { Int($0) }.first
  }

  /// The arguments of the probes.
  func arguments(_ neighbour: StartedPod) throws -> [String] {
    [
      "\(getpid())", "\(servers.port)", "\(victim.path)/readable", servers.abstractName,
      "\(try neighbour.sandbox.process)",
      "\(try #require(Self.port(neighbour)))", name,
    ]
  }

  /// The probes that a process of the host finds open, being asked for some: what a pod is kept from is really there.
  func openOnHost(_ probes: [String]) async throws -> Set<String> {
    let script = """
      "$0" target \(name)-h > "$1/said" & other=$!
      trap 'kill $other; wait $other' EXIT
      until [ -s "$1/said" ]; do kill -0 $other || exit 1; done
      "$0" \(getpid()) \(servers.port) "\(victim.path)/readable" \(servers.abstractName) \
        $other "$(cat "$1/said")" \(name)-h \(probes.joined(separator: " "))
      """
    let done = try await Command.run("sh", ["-c", script, program, build.path])
    try #require(done.isSuccess, "\(done.output)")
    return Self.open(done.output)
  }

  /// The names of the probes that were not blocked.
  static func open(_ said: String) -> Set<String> {
    Set(results(said).filter { !$0.value.hasPrefix("blocked") }.keys)
  }

  /// What became of each probe.
  static func results(_ said: String) -> [String: String] {
    var results: [String: String] = [:]
    for line in said.split(separator: "\n") {
      let words = line.split(separator: " ", maxSplits: 1).map(String.init)
      if words.count == 2 { results[words[0]] = words[1] }
    }
    return results
  }
}
