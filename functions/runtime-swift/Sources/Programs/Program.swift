import ApusFunction
@preconcurrency package import Glibc
import Synchronization

/// A child process, leader of a process group of its own, with pipes to its three streams.
package struct Program: Sendable {
  /// Its process, and process group.
  package let process: pid_t
  /// Where its standard input is written.
  package let input: Int32
  /// Where its standard output is read.
  package let output: Int32
  /// Where its standard error is read.
  package let errors: Int32

  static let defaultSearch = "/usr/local/bin:/usr/bin:/bin"

  /// The path of an executable: as given if it holds a slash, else the first found along PATH.
  package static func find(_ name: String) -> String? {
    if name.utf8.contains(0x2F) { return access(name, X_OK) == 0 ? name : nil }
    let search = getenv("PATH").map { String(cString: $0) } ?? defaultSearch
    return search.split(separator: ":").map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
  }

  /// The process's own environment, NAME=VALUE, without what only this runner needs.
  package static func environment() -> [String] {
    var found: [String] = []
    var hasPath = false
    // SAFETY: nothing in this process changes the environment, and it is read once, before any thread starts.
    var next: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = environ
    while let entry = next?.pointee {
      let text = String(cString: entry)
      if text.hasPrefix("PATH=") { hasPath = true }
      if !text.hasPrefix("APUS_COMMAND="), !text.hasPrefix("LISTEN_FDS=") { found.append(text) }
      next = next?.advanced(by: 1)
    }
    return hasPath ? found : found + ["PATH=\(defaultSearch)"]
  }

  /// Starts a program; the error number when the system refuses.
  package static func start(path: String, arguments: [String], environment: [String]) -> Result<Program, StartError> {
    Sockets.descriptors.withLock { _ in launch(path, arguments, environment) }
  }

  private static func launch(
    _ path: String, _ arguments: [String], _ environment: [String]
  ) -> Result<Program, StartError> {
    var pipes: [[Int32]] = []
    for _ in 0..<3 {
      guard let ends = Sockets.pipeEnds() else {
        let failed = errno
        for end in pipes.joined() { close(end) }
        return .failure(StartError(number: failed))
      }
      pipes.append([ends.read, ends.write])
    }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, pipes[0][0], 0)
    posix_spawn_file_actions_adddup2(&actions, pipes[1][1], 1)
    posix_spawn_file_actions_adddup2(&actions, pipes[2][1], 2)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    for number in [SIGPIPE, SIGINT, SIGTERM] { sigaddset(&signals, number) }
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETPGROUP) | Int16(POSIX_SPAWN_SETSIGDEF) | Int16(POSIX_SPAWN_SETSIGMASK))
    var process = pid_t()
    let failed = withStrings(arguments) { argv in
      withStrings(environment) { envp in posix_spawn(&process, path, &actions, &attributes, argv, envp) }
    }
    for end in [pipes[0][0], pipes[1][1], pipes[2][1]] { close(end) }
    let mine = [pipes[0][1], pipes[1][0], pipes[2][0]]
    guard failed == 0 else {
      for end in mine { close(end) }
      return .failure(StartError(number: failed))
    }
    return .success(Program(process: process, input: mine[0], output: mine[1], errors: mine[2]))
  }

  /// Ends everything the program started and is still there.
  package func killGroup() { kill(-process, SIGKILL) }

  private static func withStrings<Result>(
    _ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
  ) -> Result {
    let pointers = strings.map { strdup($0) }
    defer { for pointer in pointers { free(pointer) } }
    return body(pointers + [nil])
  }
}

/// Why a program could not be started.
package struct StartError: Error, CustomStringConvertible {
  let number: Int32
  /// What the system says.
  package var description: String { String(cString: strerror(number)) }
}
