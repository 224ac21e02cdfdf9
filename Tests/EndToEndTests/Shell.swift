import Foundation
import Glibc

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
    let work = FileManager.default.temporaryDirectory.appending(path: "apus-shell-\(UInt64.random(in: 0...UInt64.max))")
    try FileManager.default.createDirectory(at: work, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: work) }
    // Files instead of pipes: a daemon that inherits them keeps no reader waiting.
    let files = work.path
    try Data((input ?? "").utf8).write(to: work.appending(path: "in"))
    let pid = try spawn(
      executable, arguments, in: folder,
      environment: ProcessInfo.processInfo.environment.merging(environment) { _, new in new }, files: files)
    let guardian = Task {
      try await Task.sleep(for: .seconds(limit))
      kill(pid, SIGKILL)
    }
    let status = await withCheckedContinuation { continuation in
      Thread.detachNewThread {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        continuation.resume(returning: status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + status & 0x7F)
      }
    }
    guardian.cancel()
    func text(_ name: String) -> String {
      String(decoding: (try? Data(contentsOf: work.appending(path: name))) ?? Data(), as: UTF8.self)
    }
    return Result(status: status, output: text("out"), errors: text("err"))
  }

  /// Starts a process on the files `in`, `out` and `err` of a folder.
  private static func spawn(
    _ executable: String, _ arguments: [String], in folder: String?, environment: [String: String], files: String
  ) throws -> pid_t {
    keepDescriptors()
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, files + "/in", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, files + "/out", O_WRONLY | O_CREAT | O_APPEND, 0o600)
    posix_spawn_file_actions_addopen(&actions, 2, files + "/err", O_WRONLY | O_CREAT | O_APPEND, 0o600)
    // env changes the folder; the call for that is not in the Swift overlay.
    let words = folder.map { ["/usr/bin/env", "-C", $0, executable] } ?? [executable]
    var argv = (words + arguments).map { strdup($0) } + [nil]
    var envp = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { (argv + envp).forEach { free($0) } }
    var pid: pid_t = 0
    // A test's thread blocks signals, and who inherits that cannot be stopped by them.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    let result = posix_spawn(&pid, words[0], &actions, &attributes, &argv, &envp)
    guard result == 0 else {
      throw ClusterFailure("\(executable) cannot be started: \(String(cString: strerror(result)))")
    }
    return pid
  }

  /// Marks every descriptor but the standard ones, so that no connection of the tests is held open by a child.
  private static func keepDescriptors() {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? [] {
      if let descriptor = Int32(name), descriptor > 2 { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
    }
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
