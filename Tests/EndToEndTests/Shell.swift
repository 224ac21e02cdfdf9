import Foundation
import Synchronization

/// Runs commands as a person at a terminal would.
enum Shell {
  /// What a command did.
  struct Result: Sendable {
    let status: Int32
    let output: String
    let errors: String
    /// Output and errors, for a failed expectation.
    var all: String { output + errors }
  }

  /// Runs an executable with arguments; killed after `limit` seconds (then its status is 137).
  static func run(
    _ executable: String, _ arguments: [String], in folder: String? = nil, environment: [String: String] = [:],
    input: String? = nil, limit: Double = 120
  ) async throws -> Result {
    let process = Process()
    process.executableURL = URL(filePath: executable)
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { _, new in new }
    if let folder { process.currentDirectoryURL = URL(filePath: folder) }
    let work = FileManager.default.temporaryDirectory.appending(path: "apus-shell-\(UInt64.random(in: 0...UInt64.max))")
    try FileManager.default.createDirectory(at: work, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: work) }
    // Files instead of pipes: a daemon that inherits them keeps no reader waiting.
    let files = try ["out", "err", "in"].map { name -> FileHandle in
      let url = work.appending(path: name)
      try Data((name == "in" ? input ?? "" : "").utf8).write(to: url)
      return try FileHandle(forUpdating: url)
    }
    process.standardOutput = files[0]
    process.standardError = files[1]
    process.standardInput = files[2]
    let ended = AsyncStream.makeStream(of: Int32.self)
    process.terminationHandler = { process in
      ended.continuation.yield(
        process.terminationReason == .uncaughtSignal ? 128 + process.terminationStatus : process.terminationStatus)
      ended.continuation.finish()
    }
    try process.run()
    let pid = process.processIdentifier
    let guardian = Task {
      try await Task.sleep(for: .seconds(limit))
      kill(pid, SIGKILL)
    }
    var status: Int32 = -1
    for await code in ended.stream { status = code }
    guardian.cancel()
    func text(_ name: String) -> String {
      String(decoding: (try? Data(contentsOf: work.appending(path: name))) ?? Data(), as: UTF8.self)
    }
    return Result(status: status, output: text("out"), errors: text("err"))
  }

  /// A line of bash that starts a command in the background with none of this process's descriptors: the way a daemon is
  /// started, and without it whoever waits for the line would wait for the daemon.
  static func detached(_ command: String, output: String) -> String {
    """
    ( for n in $(ls /proc/self/fd); do [ "$n" -gt 2 ] && eval "exec $n>&-"; done
      exec \(command) ) >\(output) 2>&1 </dev/null &
    """
  }

  /// Runs a line in bash.
  static func bash(_ line: String, in folder: String? = nil, environment: [String: String] = [:], limit: Double = 120)
    async throws -> Result
  {
    try await run("/bin/bash", ["-c", line], in: folder, environment: environment, limit: limit)
  }
}
