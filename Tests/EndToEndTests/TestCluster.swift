import ClusterTestSupport
import Foundation

/// A real cluster: the debug binary of this build, real processes, real sandboxes, free ports, a folder of its own.
final class TestCluster: Sendable {
  /// The root of the clone.
  static let root: String = {
    var folder = URL(filePath: #filePath).deletingLastPathComponent()
    while !FileManager.default.fileExists(atPath: folder.appending(path: "Package.swift").path) {
      folder.deleteLastPathComponent()
    }
    return folder.path
  }()

  /// The binary under test is a release build.
  static var isRelease: Bool { apus.contains("/release/") }

  /// The binary under test: `APUS_BIN`, else the debug build.
  static let apus: String = {
    if let given = ProcessInfo.processInfo.environment["APUS_BIN"], !given.isEmpty { return given }
    let bundle = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
    let beside = bundle.appending(path: "apus").path
    return FileManager.default.isExecutableFile(atPath: beside) ? beside : root + "/.build/debug/apus"
  }()

  let folder: TemporaryFolder
  let gateway: String
  let api: String
  let data: String
  var work: String { folder.path }
  var environment: [String: String] {
    [
      "APUS_DATA": data, "APUS_KUBECONFIG": data + "/kubeconfig",
      "PATH": URL(filePath: Self.apus).deletingLastPathComponent().path + ":"
        + (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"),
    ]
  }

  private init(folder: TemporaryFolder, data: String, gateway: String, api: String) {
    self.folder = folder
    self.data = data
    self.gateway = gateway
    self.api = api
  }

  /// Runs a test's body on a cluster of its own and takes the cluster down whatever happens.
  static func with(
    workers: Int = 2, flags: [String] = [], data: String? = nil, _ body: (TestCluster) async throws -> Void
  ) async throws {
    let folder = try TemporaryFolder("apus-e2e")
    let data = data ?? folder.path + "/data"
    let ports = ["--gateway-port", "0", "--api-port", "0", "--admin-port", "0"]
    let up = try await Shell.run(apus, ["up", "--data", data, "--workers", "\(workers)"] + ports + flags)
    guard up.status == 0 else {
      let logs = try await Shell.bash("tail -n 30 \(data)/output/*.log")
      _ = try await Shell.run(apus, ["down", "--data", data])
      throw ClusterFailure("apus up failed: \(up.all)\n\(logs.output)")
    }
    func value(_ key: String) -> String {
      let line = up.output.split(separator: "\n").first { $0.contains("  \(key) ") } ?? ""
      return String(line.split(separator: " ").dropFirst().first ?? "").replacing("/function/NAME", with: "")
    }
    let cluster = TestCluster(folder: folder, data: data, gateway: value("gateway"), api: value("api"))
    var failure: (any Error)?
    do { try await body(cluster) } catch { failure = error }
    let down = try await Shell.run(apus, ["down", "--data", data])
    if let failure { throw failure }
    guard down.status == 0 else { throw ClusterFailure("apus down failed: \(down.all)") }
    try noCrash(data)
  }

  /// Throws when a process of the cluster ended by a signal that no test sends: it crashed.
  private static func noCrash(_ data: String) throws {
    guard let log = try? String(contentsOfFile: "\(data)/output/supervisor.log", encoding: .utf8) else { return }
    let crashes = log.split(separator: "\n").filter { $0.contains("killed by signal") && !$0.contains("by signal 9") }
    if !crashes.isEmpty { throw ClusterFailure("a process crashed:\n" + crashes.joined(separator: "\n")) }
  }

  /// Runs `apus` against this cluster.
  func apus(_ arguments: String..., input: String? = nil, limit: Double = 120) async throws -> Shell.Result {
    try await Shell.run(Self.apus, arguments, in: work, environment: environment, input: input, limit: limit)
  }

  /// Runs a line of bash with `apus` in the path and this cluster chosen.
  func bash(_ line: String, limit: Double = 120) async throws -> Shell.Result {
    try await Shell.bash(line, in: work, environment: environment, limit: limit)
  }

  /// Writes a file below the cluster's folder.
  func write(_ path: String, _ text: String) throws {
    let url = folder.url.appending(path: path)
    try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: url)
  }

  /// Writes a python function and deploys it.
  func deployPython(_ name: String, _ code: String, spec: String = "") async throws -> Shell.Result {
    try write("\(name)/handler.py", code)
    try write("\(name)/function.yaml", Self.manifest(name, "runtime: python\n  handler: handler.py\n" + spec))
    return try await apus("deploy", name)
  }

  /// A manifest of a spec whose first line is not indented.
  static func manifest(_ name: String, _ spec: String) -> String {
    "apiVersion: apus.dev/v1\nkind: Function\nmetadata:\n  name: \(name)\nspec:\n  \(spec)\n"
  }

  /// The sum of a metric's samples whose labels hold a text; 0 when there are none.
  func metric(_ name: String, _ labels: String = "") async throws -> Double {
    let text = try await bash("curl -sf $(apus status -o json | jq -r .metrics)")
    guard text.status == 0 else { throw ClusterFailure("the gateway's metrics cannot be read: \(text.all)") }
    return text.output.split(separator: "\n").reduce(0) { sum, line in
      guard line.hasPrefix(name + "{") || line.hasPrefix(name + " "), labels.isEmpty || line.contains(labels) else {
        return sum
      }
      return sum + (line.split(separator: " ").last.flatMap { Double($0) } ?? 0)
    }
  }

  /// The URL of a function.
  func url(_ function: String) -> String { "\(gateway)/function/\(function)" }
}

/// A cluster that could not be started or stopped.
struct ClusterFailure: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
