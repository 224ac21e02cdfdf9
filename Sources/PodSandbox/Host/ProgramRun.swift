import CLinux
import Glibc

/// One short run of a program of the host (an interpreter asked for its version, the loader asked for libraries).
struct ProgramRun: Sendable, Equatable {
  var exitCode: CInt
  var output: String

  static let outputLimit = 1 << 20
  static let timeoutMs: CInt = 10_000

  /// Runs `path` without a shell, with a small fixed environment, and takes its standard output. Nil when it cannot be
  /// started or takes too long. Blocks: not for pool threads.
  static func run(_ path: String, _ arguments: [String]) -> ProgramRun? {
    var ends: [CInt] = [-1, -1]
    guard apus_pipe(&ends) == 0 else { return nil }
    defer { close(ends[0]) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    var pid = pid_t()
    let code = withCStrings([path] + arguments) { argv in
      withCStrings(["PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "HOME=/"]) { environment in
        posix_spawn(&pid, path, &actions, nil, argv, environment)
      }
    }
    close(ends[1])
    guard code == 0 else { return nil }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    var complete = true
    while true {
      guard apus_wait_readable(ends[0], timeoutMs) == 1, bytes.count < outputLimit else {
        complete = false
        kill(pid, SIGKILL)
        break
      }
      let count = read(ends[0], &buffer, buffer.count)
      if count <= 0 { break }
      bytes.append(contentsOf: buffer[..<count])
    }
    var status: CInt = 0
    while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
    guard complete, status & 0x7f == 0 else { return nil }
    return ProgramRun(exitCode: (status >> 8) & 0xff, output: String(decoding: bytes, as: UTF8.self))
  }

  /// The first executable `name` in the folders of `path`.
  static func find(_ name: String, in path: String) -> String? {
    for folder in path.split(separator: ":") {
      let candidate = "\(folder)/\(name)"
      var info = stat()
      if stat(candidate, &info) == 0, info.st_mode & S_IFMT == S_IFREG, access(candidate, X_OK) == 0 {
        return candidate
      }
    }
    return nil
  }

  private static func withCStrings<Result>(
    _ texts: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
  ) -> Result {
    let copies: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) } + [nil]
    defer { for copy in copies { free(copy) } }
    return body(copies)
  }
}
