import Glibc
import Synchronization

/// A process of ours that was started with a pipe to its standard input.
///
/// The pipe carries one line (a token, or nothing) and then stays open: its end tells the child that its parent is gone.
final class ChildProcess: Sendable {
  /// The process id.
  let pid: pid_t
  private let lifeline: Mutex<Int32>

  private init(pid: pid_t, lifeline: Int32) {
    self.pid = pid
    self.lifeline = Mutex(lifeline)
  }

  /// How a process ended.
  enum Ending: Hashable, Sendable, CustomStringConvertible {
    case exited(Int32)
    case signalled(Int32)

    var description: String {
      switch self {
      case .exited(let code): "exited with \(code)"
      case .signalled(let signal): "was killed by signal \(signal)"
      }
    }
  }

  /// POSIX_SPAWN_SETSID of spawn.h (glibc 2.26), which the Swift overlay leaves out.
  private static let newSession: Int32 = 0x80

  /// Starts an executable with arguments; output goes to a file, `line` to its standard input.
  ///
  /// `session` puts it into a session of its own, so that a terminal's signals do not reach it.
  static func start(
    _ executable: String, _ arguments: [String], line: String?, output: String, session: Bool
  ) throws -> ChildProcess {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw SystemFailure("pipe", errno) }
    closeInheritedOnExec()
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, ends[0], 0)
    posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o640)
    posix_spawn_file_actions_adddup2(&actions, 1, 2)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var nothing = sigset_t()
    sigemptyset(&nothing)
    posix_spawnattr_setsigmask(&attributes, &nothing)
    posix_spawnattr_setflags(&attributes, Int16((session ? newSession : 0) | POSIX_SPAWN_SETSIGMASK))
    var argv: [UnsafeMutablePointer<CChar>?] = ([executable] + arguments).map { strdup($0) }
    argv.append(nil)
    defer { argv.forEach { free($0) } }
    var pid: pid_t = 0
    let result = posix_spawn(&pid, executable, &actions, &attributes, argv, environ)
    close(ends[0])
    guard result == 0 else {
      close(ends[1])
      throw SystemFailure(executable, result)
    }
    let child = ChildProcess(pid: pid, lifeline: ends[1])
    // A line is shorter than a pipe's buffer, so this never blocks.
    let bytes = Array(((line ?? "") + "\n").utf8)
    _ = bytes.withUnsafeBytes { write(ends[1], $0.baseAddress, $0.count) }
    return child
  }

  /// Marks every descriptor but the standard ones, so that nothing this process was handed reaches a child.
  private static func closeInheritedOnExec() {
    guard let folder = opendir("/proc/self/fd") else { return }
    defer { closedir(folder) }
    while let entry = readdir(folder) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      if let descriptor = Int32(name), descriptor > 2 { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
    }
  }

  /// Waits on a thread of its own until the process has ended, and reaps it.
  func ending() async -> Ending {
    let pid = pid
    return await withCheckedContinuation { continuation in
      DetachedThread.run {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        continuation.resume(returning: status & 0x7F == 0 ? .exited((status >> 8) & 0xFF) : .signalled(status & 0x7F))
      }
    }
  }

  /// Sends a signal.
  func signal(_ signal: Int32) { kill(pid, signal) }

  /// Closes the pipe to the process.
  func release() {
    lifeline.withLock { descriptor in
      if descriptor >= 0 { close(descriptor) }
      descriptor = -1
    }
  }

  deinit { release() }
}

/// A system call that failed, with what it was about.
struct SystemFailure: Error, CustomStringConvertible {
  let description: String

  init(_ what: String, _ code: Int32) { description = "\(what): \(String(cString: strerror(code)))" }
}

/// Runs a blocking closure on a thread of its own; for the few waits that the system offers no event for.
enum DetachedThread {
  private final class Work {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }

  /// Starts the thread.
  static func run(_ body: @escaping @Sendable () -> Void) {
    var thread = pthread_t()
    let work = Unmanaged.passRetained(Work(body))
    let result = pthread_create(
      &thread, nil,
      { raw in
        // pthread passes on exactly the pointer that run(_:) retained for this thread.
        if let raw { Unmanaged<Work>.fromOpaque(raw).takeRetainedValue().body() }
        return nil
      }, work.toOpaque())
    if result == 0 { pthread_detach(thread) } else { work.release() }
  }
}

/// The other end of `ChildProcess`: reads the line its parent handed over, and watches for the parent's end.
enum Lifeline {
  /// The first line of standard input without its end; nil when it is empty. Blocks until the parent wrote it.
  static func line() -> String? {
    var bytes: [UInt8] = []
    var byte: UInt8 = 0
    while bytes.count < 4096, read(0, &byte, 1) == 1, byte != 10 { bytes.append(byte) }
    return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
  }

  /// Sends this process SIGTERM when the parent is gone.
  static func follow() {
    DetachedThread.run {
      var byte: UInt8 = 0
      while true {
        let count = read(0, &byte, 1)
        if count == 0 || (count < 0 && errno != EINTR) { break }
      }
      kill(getpid(), SIGTERM)
    }
  }
}
