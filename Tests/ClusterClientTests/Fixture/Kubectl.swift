import ClusterTestSupport
import ControlPlane
import Foundation
import HTTPService
import Synchronization

/// The real kubectl with a kubeconfig and a cache of its own.
struct Kubectl: Sendable {
  /// Where Debian's package puts it.
  static let path = "/usr/bin/kubectl"
  /// How long one command may take.
  static let patience = Duration.seconds(60)

  /// What a command printed and how it ended.
  struct Result: Sendable {
    let output: String
    let errors: String
    let status: Int32
    var lines: [String] { output.split(separator: "\n").map(String.init) }
  }

  private let arguments: [String]

  /// Writes the kubeconfig of a world.
  init(_ world: World) throws {
    let config = world.folder.path + "/kubeconfig"
    try Kubeconfig(server: world.url, authority: world.authority.pem, token: world.adminToken, gateway: nil).write(
      to: config)
    arguments = ["--kubeconfig", config, "--cache-dir", world.folder.path + "/kube-cache"]
  }

  /// Runs a command to its end, which is forced after a minute.
  func run(_ words: String...) async throws -> Result {
    let running = try start(words)
    let timer = Task {
      try await Task.sleep(for: Self.patience)
      running.stop()
    }
    defer { timer.cancel() }
    let status = await running.ended()
    return Result(output: running.output, errors: running.errors, status: status)
  }

  /// Starts a command that goes on; the caller stops it.
  func start(_ words: [String]) throws -> RunningCommand {
    try RunningCommand(Self.path, arguments + words)
  }
}

/// A process whose output is gathered while it runs.
final class RunningCommand: Sendable {
  /// Bytes as they come.
  private final class Gathered: Sendable {
    private let bytes = Mutex<[UInt8]>([])
    var text: String { String(decoding: bytes.withLock { $0 }, as: UTF8.self) }
    func add(_ data: Data) { bytes.withLock { $0 += data } }
  }

  /// Counts the ends of both pipes and of the process; the status is given once all three came.
  private final class Ends: Sendable {
    private let state = Mutex((left: 3, status: Int32(-1)))
    private let sink: AsyncStream<Int32>.Continuation
    init(_ sink: AsyncStream<Int32>.Continuation) { self.sink = sink }

    func came(status: Int32? = nil) {
      let last = state.withLock { state -> Int32? in
        state.left -= 1
        if let status { state.status = status }
        return state.left == 0 ? state.status : nil
      }
      guard let last else { return }
      sink.yield(last)
      sink.finish()
    }
  }

  private let process: Process
  private let printed = Gathered()
  private let complained = Gathered()
  private let end = AsyncStream<Int32>.makeStream()

  init(_ path: String, _ arguments: [String]) throws {
    process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    process.environment = ["HOME": "/nonexistent", "PATH": "/usr/bin:/bin"]
    process.standardInput = FileHandle.nullDevice
    let ends = Ends(end.continuation)
    process.standardOutput = Self.pipe(into: printed, ends)
    process.standardError = Self.pipe(into: complained, ends)
    process.terminationHandler = { ends.came(status: $0.terminationStatus) }
    try process.run()
  }

  private static func pipe(into gathered: Gathered, _ ends: Ends) -> Pipe {
    let pipe = Pipe()
    pipe.fileHandleForReading.readabilityHandler = { handle in
      let data = handle.availableData
      if !data.isEmpty { return gathered.add(data) }
      handle.readabilityHandler = nil
      ends.came()
    }
    return pipe
  }

  /// What it printed so far.
  var output: String { printed.text }
  /// What it complained so far.
  var errors: String { complained.text }

  /// Waits for its end and answers the exit status.
  func ended() async -> Int32 {
    for await status in end.stream { return status }
    return -1
  }

  /// Ends it.
  func stop() {
    if process.isRunning { process.terminate() }
  }
}
