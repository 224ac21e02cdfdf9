import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import FunctionPackage
import Logging
import ServiceLifecycle
import Testing

@testable import WorkerAgent

/// A worker with real sandboxes, for tests that run as root.
final class RealWorker: Sendable {
  /// Whether this process may start pods, and the spawner is built.
  static var isPossible: Bool { geteuid() == 0 && spawner != nil }

  /// apus-spawner, beside the test bundle.
  static let spawner: String? = {
    let beside = [CommandLine.arguments.first ?? "", Bundle.main.executablePath ?? "", "/proc/self/exe"]
    for path in beside {
      let folder = URL(fileURLWithPath: path).resolvingSymlinksInPath().deletingLastPathComponent()
      let candidate = folder.appending(path: "apus-spawner").path
      if access(candidate, X_OK) == 0 { return candidate }
    }
    return ProcessInfo.processInfo.environment["APUS_SPAWNER"]
  }()

  static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

  let folder: TemporaryFolder
  let server = SimulatedServer()
  let logs = SimulatedLogs()
  let artifacts = SimulatedArtifacts()
  let configuration: WorkerConfiguration
  private let group: ServiceGroup
  private let task: Task<Void, any Error>

  init(secrets: SimulatedSecrets = SimulatedSecrets()) throws {
    folder = try TemporaryFolder("apus-real")
    let zygoteModule = Self.spawner.map { $0.replacing("apus-spawner", with: "apus_zygote.abi3.so") } ?? ""
    let instance = String(format: "%08x", UInt32.random(in: 0 ... .max))
    var configuration = WorkerConfiguration(
      name: "n1", dataDirectory: "\(folder.path)/data", runDirectory: "/run/apus/\(instance)", instance: instance,
      labels: [:], milliCPU: 2000, memory: 4 << 30, pods: 100,
      listenAddress: .init(host: "127.0.0.1", port: 0), hostIdentity: "host-1", spawnerPath: Self.spawner ?? "",
      runtimeFiles: .init(
        python: "\(Self.repository)/functions/runtimes/python", node: "\(Self.repository)/functions/runtimes/node",
        execRunner: "\(folder.path)/none", zygoteModule: zygoteModule, lambdaBridge: "\(folder.path)/none"),
      version: "0.1.0")
    configuration.drainSettleMilliseconds = 100
    self.configuration = configuration
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let agent = try WorkerAgent(
      configuration: configuration, sessions: server, artifacts: artifacts, secrets: secrets, logs: logs, tls: nil,
      logger: logger)
    let group = ServiceGroup(services: [agent], logger: logger)
    self.group = group
    task = Task { try await group.run() }
  }

  /// Packs files and starts a pod of them.
  func start(_ files: [String: String], spec: JSONValue = .object([:])) async throws -> String {
    let source = "\(folder.path)/src-\(UInt32.random(in: 0 ... .max))"
    try FileManager.default.createDirectory(atPath: source, withIntermediateDirectories: true)
    for (name, text) in files {
      let path = "\(source)/\(name)"
      try Data(text.utf8).write(to: URL(fileURLWithPath: path))
      if text.hasPrefix("#!") { chmod(path, 0o755) }
    }
    return try await start(folder: source, spec: spec)
  }

  func start(folder source: String, spec: JSONValue = .object([:])) async throws -> String {
    let packed = "\(folder.path)/\(UInt32.random(in: 0 ... .max)).tar.gz"
    let digest = try PackageArchive.pack(folder: source, to: packed).digest
    artifacts.add(digest, [UInt8](try Data(contentsOf: URL(fileURLWithPath: packed))))
    let assignment = try Assignments.make(digest: digest, spec: spec)
    _ = await eventually { self.server.epoch > 0 }
    server.send(.start(assignment))
    return assignment.uid
  }

  func becomes(_ life: PodLife, _ uid: String) async -> Bool {
    let done = await eventually(within: .seconds(30)) { self.server.life(uid) == life }
    if !done { Issue.record("pod is \(String(describing: server.latest(uid)?.detail))") }
    return done
  }

  /// One request over the pod's own socket: the answer as text.
  func request(_ uid: String, _ path: String = "/", body: String = "") async throws -> String {
    guard let socket = server.latest(uid)?.detail.endpoint?.socket else { return "no endpoint" }
    let connection = try await TestConnection(socket: socket)
    try await connection.send(Self.head(path, body))
    _ = await eventually(within: .seconds(20)) { connection.ended || Self.isWhole(connection.text) }
    await connection.close()
    return connection.text
  }

  /// Whether an answer has the length its head says.
  static func isWhole(_ answer: String) -> Bool {
    guard let end = answer.range(of: "\r\n\r\n") else { return false }
    let field = answer[..<end.lowerBound].split(separator: "\r\n")
      .first { $0.lowercased().hasPrefix("content-length:") }
    guard let length = field?.split(separator: ":").last.flatMap({ Int($0.filter(\.isNumber)) }) else { return false }
    return answer[end.upperBound...].utf8.count >= length
  }

  static func head(_ path: String, _ body: String) -> String {
    "POST \(path) HTTP/1.1\r\nHost: pod\r\nX-Call-Id: call-1\r\nConnection: close\r\n"
      + "Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
  }

  /// Shuts the worker down and checks that it left nothing.
  func leave() async throws {
    await group.triggerGracefulShutdown()
    try await task.value
    #expect(!FileManager.default.fileExists(atPath: configuration.runDirectory))
    #expect(leftGroups().isEmpty)
    // Unpacked packages are read-only folders, which a plain removal cannot empty unless it is root.
    for name in Descriptors.names(in: "\(folder.path)/data/code") {
      try? PackageArchive.remove("\(folder.path)/data/code/\(name)")
    }
  }

  /// The spawner that started the pod in a slot: found from the pod's processes upwards.
  func spawner(ofSlot slot: Int) -> pid_t? {
    for group in leftGroups() {
      let name = Descriptors.names(in: group).first { $0.hasPrefix("\(slot)-") } ?? "none"
      let tasks = Descriptors.contents(of: "\(group)/\(name)/cgroup.procs") ?? []
      var pid = String(decoding: tasks, as: UTF8.self).split(separator: "\n").first.flatMap { pid_t($0) }
      while let here = pid, here > 1 {
        let status = String(decoding: Descriptors.contents(of: "/proc/\(here)/stat") ?? [], as: UTF8.self)
        let parent = status.split(separator: ")").last?.split(separator: " ").dropFirst().first.flatMap { pid_t($0) }
        if parent == getpid() { return here }
        pid = parent
      }
    }
    return nil
  }

  /// Control groups of this instance that exist.
  private func leftGroups() -> [String] {
    var found: [String] = []
    for controller in Descriptors.names(in: "/sys/fs/cgroup") {
      let walker = FileManager.default.enumerator(atPath: "/sys/fs/cgroup/\(controller)")
      while let path = walker?.nextObject() as? String {
        if path.hasSuffix("/apus/\(configuration.instance)") { found.append("/sys/fs/cgroup/\(controller)/\(path)") }
      }
    }
    return found
  }
}
