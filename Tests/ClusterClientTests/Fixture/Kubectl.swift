import ControlPlane
import Foundation
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
// SAFETY: the process is only touched under its lock.
final class RunningCommand: @unchecked Sendable {
  private let process: Mutex<Process>
  private let texts = Mutex((output: [UInt8](), errors: [UInt8]()))
  private let end = AsyncStream<Int32>.makeStream()

  init(_ path: String, _ arguments: [String]) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    process.environment = ["HOME": "/nonexistent", "PATH": "/usr/bin:/bin"]
    let (output, errors) = (Pipe(), Pipe())
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = errors
    let finish = end.continuation
    // The pipes end before or after the process does; the status is given once all three did.
    let open = Mutex(3)
    let status = Mutex<Int32>(-1)
    let one: @Sendable () -> Void = {
      let left = open.withLock { left in
        left -= 1
        return left
      }
      if left == 0 {
        finish.yield(status.withLock { $0 })
        finish.finish()
      }
    }
    process.terminationHandler = { ended in
      status.withLock { $0 = ended.terminationStatus }
      one()
    }
    self.process = Mutex(process)
    output.fileHandleForReading.readabilityHandler = { [texts] handle in
      let data = handle.availableData
      if data.isEmpty {
        handle.readabilityHandler = nil
        return one()
      }
      texts.withLock { $0.output += data }
    }
    errors.fileHandleForReading.readabilityHandler = { [texts] handle in
      let data = handle.availableData
      if data.isEmpty {
        handle.readabilityHandler = nil
        return one()
      }
      texts.withLock { $0.errors += data }
    }
    try self.process.withLock { try $0.run() }
  }

  /// What it printed so far.
  var output: String { String(decoding: texts.withLock { $0.output }, as: UTF8.self) }
  /// What it complained so far.
  var errors: String { String(decoding: texts.withLock { $0.errors }, as: UTF8.self) }

  /// Waits for its end and answers the exit status.
  func ended() async -> Int32 {
    for await status in end.stream { return status }
    return -1
  }

  /// Ends it.
  func stop() { process.withLock { if $0.isRunning { $0.terminate() } } }
}
