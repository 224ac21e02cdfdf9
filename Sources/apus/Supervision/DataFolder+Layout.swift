import Crypto
import FoundationEssentials
import Glibc

/// What lies where under the data folder.
extension DataFolder {
  /// The durable store.
  var store: String { path + "/state/store.sqlite" }
  /// Asynchronous calls, apart from intent: their writes are many and nobody watches them.
  var calls: String { path + "/state/calls.sqlite" }
  /// Function packages of the server.
  var artifacts: String { path + "/artifacts" }
  /// The log index.
  var logs: String { path + "/logs" }
  /// Keys and certificates.
  var keys: String { path + "/pki" }
  /// Output of the processes.
  var output: String { path + "/output" }
  /// Files that are worth nothing after a restart.
  var run: String { path + "/run" }
  /// The supervisor's lock.
  var lock: String { run + "/supervisor.lock" }
  /// The ports the server got, so that a restart keeps them.
  var ports: String { run + "/ports.json" }

  /// The socket through which the server runs asynchronous calls in its own gateway; throws when its folder is not ours.
  ///
  /// It lies in `run`, or, when that path is longer than a socket's may be, in a folder of its own below /tmp.
  func gatewaySocket() throws -> String {
    try socket("gateway.sock")
  }

  /// The socket on which the server's own gateway takes calls of pods; as `gatewaySocket`.
  func podSocket() throws -> String { try socket(Self.podSocketName) }

  /// Where gateways of this data folder may take calls of pods: the server's own, then those of other processes.
  var podSockets: [String] {
    let others = (try? FileManager.default.contentsOfDirectory(atPath: path + "/gateways")) ?? []
    // Whoever comes first may make a folder below /tmp.
    let far = RunFolder.isOurs(farSocketFolder) ? [farSocketFolder + "/" + Self.podSocketName] : []
    return [run + "/" + Self.podSocketName] + far + others.sorted().map { gateway($0) + "/" + Self.podSocketName }
  }

  /// The socket on which a gateway of its own process takes calls of pods; nil where its path would be too long.
  func podSocket(ofGateway name: String) -> String? {
    let path = gateway(name) + "/" + Self.podSocketName
    return path.utf8.count <= Self.socketBytesMax ? path : nil
  }

  private static let podSocketName = "pods.sock"

  private func socket(_ name: String) throws -> String {
    let near = run + "/" + name
    if near.utf8.count <= Self.socketBytesMax { return near }
    let folder = farSocketFolder
    guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
      throw Failure("cannot make \(folder): \(String(cString: strerror(errno)))", next: "Use a shorter --data.")
    }
    guard RunFolder.isOurs(folder, forbidden: 0o077) else {
      throw Failure("\(folder) belongs to somebody else", next: "Remove it, or use a shorter --data.")
    }
    return folder + "/" + name
  }

  /// Removes the socket's folder below /tmp, if there is one and nothing is left in it.
  func removeSocketFolder() { rmdir(farSocketFolder) }

  private var farSocketFolder: String { "/tmp/apus-\(RunFolder.user)-\(Self.instance(path))" }

  /// Bytes of a socket's path at most (sun_path, with its end).
  private static let socketBytesMax = 107

  /// What one worker keeps.
  func worker(_ name: String) -> String { path + "/workers/" + name }

  /// What a gateway of its own process keeps.
  func gateway(_ name: String) -> String { path + "/gateways/" + name }

  /// Eight hex digits of a path: names sockets and cgroups of one worker on this machine.
  static func instance(_ path: String) -> String {
    SHA256.hash(data: Data(path.utf8)).prefix(4).map { byte in
      let hex = String(byte, radix: 16)
      return hex.count == 1 ? "0" + hex : hex
    }.joined()
  }

  /// Makes the folder of one worker or gateway and takes its lock; throws when another process has it.
  static func take(_ home: String, for role: String) throws -> FileLock {
    try FileManager.default.createDirectory(
      atPath: home, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    guard let lock = try FileLock(home + "/lock") else {
      let instead = role == "gateway" ? "Replace it with --take-over, stop it" : "Stop it"
      throw Failure("a \(role) already runs on \(home)", next: "\(instead), or give this one another --data or --name.")
    }
    return lock
  }

  /// Makes the folders, private to their owner; throws with the path that cannot be made.
  func prepare() throws {
    for folder in [path, path + "/state", artifacts, logs, keys, output, run, path + "/workers"] {
      try FileManager.default.createDirectory(
        atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }
  }
}

extension DataFolder {
  /// The folder of a flag, $APUS_DATA, or the default.
  static func choose(_ flag: String?) -> DataFolder {
    choose(flag: flag, variables: { EnvironmentVariables[$0] }, root: geteuid() == 0)
  }
}
