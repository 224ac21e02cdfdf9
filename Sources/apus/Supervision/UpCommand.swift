import ArgumentParser
import ClusterModel
import FoundationEssentials
import Glibc
import Logging

/// `apus up`.
struct UpCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "up",
    abstract: "Start a cluster on this machine, in the background.",
    discussion: """
      One server and some workers, watched by a small supervisor. Everything they keep is below the data folder; a
      cluster that was stopped comes back with every function and log line.

      Example:
        apus up --workers 2
        apus up --data ~/other --gateway-port 0 --api-port 0 --admin-port 0
      """)

  @OptionGroup var role: RoleOptions
  @OptionGroup var listening: ListenOptions
  @OptionGroup var calls: CallOptions
  @OptionGroup var logs: LogKeepOptions
  @OptionGroup var egress: EgressOptions
  @OptionGroup var isolation: IsolationOptions
  @OptionGroup var zygotes: ZygoteOptions
  @Option(help: "The API's port; 0 takes a free one.") var apiPort = 6440
  @Option(help: "How many workers.") var workers = 2
  @Flag(help: "Do not start a process again when it ends.") var noRestart = false

  /// How long the cluster may take until every node has joined, milliseconds.
  static let patience: Int64 = 60_000

  func validate() throws {
    try listening.check()
    try ListenOptions.check(port: apiPort, "--api-port")
    if !(0...64).contains(workers) { throw ValidationError("--workers: use 0 to 64") }
  }

  func run() async throws {
    let folder = DataFolder.choose(role.data)
    try folder.prepare()
    if try FileLock(folder.lock) == nil {
      let cluster = try ClusterConnection.open(kubeconfig: folder.kubeconfig)
      return Terminal.print(Self.summary("Apus is already up.", cluster, folder))
    }
    if workers > 0 {
      try WorkerRole.refuseWithoutPods()
      try isolation.check()
    }
    try refuseTakenPorts()
    Terminal.note("starting   control plane, gateway, log index, \(workers) \(workers == 1 ? "worker" : "workers")")
    try? FileManager.default.removeItem(atPath: folder.processes)
    let supervisor = try ChildProcess.start(
      InstalledFiles.realExecutable(), arguments(folder), line: nil, output: folder.output + "/supervisor.log",
      session: true)
    let cluster = try await wait(for: supervisor, folder)
    Terminal.print(Self.summary("Apus is up.", cluster, folder))
  }

  private func arguments(_ folder: DataFolder) -> [String] {
    ["supervise", "--data", folder.path, "--workers", "\(workers)", "--api-port", "\(apiPort)"]
      + ["--log-level", role.logLevel.rawValue] + listening.flags + calls.flags + logs.flags
      + egress.flags + isolation.flags + zygotes.flags
      + (noRestart ? ["--no-restart"] : [])
  }

  /// Says at once which port is taken, instead of letting the server fail in the background.
  private func refuseTakenPorts() throws {
    let ports = [
      ("--gateway-port", listening.gatewayPort), ("--api-port", apiPort), ("--admin-port", listening.adminPort),
    ]
    for (flag, port) in ports where port != 0 && !Self.isFree(port, host: listening.listen) {
      throw Failure(
        "port \(port) on \(listening.listen) is in use",
        next: "Stop what listens there, or choose another with \(flag).")
    }
  }

  private static func isFree(_ port: Int, host: String) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { return true }
    defer { close(descriptor) }
    var on: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(UInt16(port)).bigEndian
    guard inet_pton(AF_INET, host, &address.sin_addr) == 1 else { return true }
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    return result == 0 || errno != EADDRINUSE
  }

  /// Waits until the API answers and every worker has joined, or says what went wrong.
  private func wait(for supervisor: ChildProcess, _ folder: DataFolder) async throws -> ClusterConnection {
    let start = Timestamp.now()
    var pause: Int64 = 10
    while Timestamp.now().milliseconds(since: start) < Self.patience {
      if kill(supervisor.pid, 0) != 0 || waitpid(supervisor.pid, nil, WNOHANG) == supervisor.pid {
        throw Failure("the cluster ended while it started", next: "See \(folder.output)/supervisor.log and server.log.")
      }
      if ProcessBoard.read(folder) != nil, let cluster = try? ClusterConnection.open(kubeconfig: folder.kubeconfig),
        let nodes = try? await cluster.list(of: Node.self, in: nil),
        nodes.count(where: { $0.status?.apus?.session == "joined" }) >= workers
      {
        return cluster
      }
      if let ended = ProcessBoard.read(folder)?.processes.first(where: { $0.lastEnding != nil && $0.restarts >= 3 }) {
        let said = Self.lastLine(of: "\(folder.output)/\(ended.name).log").map { "; it said: \($0)" } ?? ""
        throw Failure(
          "\(ended.name) does not stay up: it \(ended.lastEnding ?? "ended")\(said)",
          next: "See \(folder.output)/\(ended.name).log; `apus down` stops the rest.")
      }
      try await Task.sleep(for: .milliseconds(pause))
      pause = min(200, pause * 2)
    }
    throw Failure(
      "the cluster did not come up within \(Self.patience / 1000) s",
      next: "See the logs in \(folder.output); `apus down` stops it.")
  }

  /// The last line a process wrote, without control characters; nil when there is none.
  private static func lastLine(of path: String) -> String? {
    guard let bytes = FileManager.default.contents(atPath: path)?.suffix(4096) else { return nil }
    return String(decoding: bytes, as: UTF8.self).split(separator: "\n").last.map { Text.visible(String($0)) }
  }

  private static func summary(_ heading: String, _ cluster: ClusterConnection, _ folder: DataFolder) -> String {
    """
    \(heading)
      gateway  \(cluster.gateway ?? "none")/function/NAME
      api      \(cluster.api)       kubeconfig: \(folder.kubeconfig)
    """
  }
}
