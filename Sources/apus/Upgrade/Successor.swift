import CLinux
import Glibc
import Logging
import ServiceLifecycle
import UnixSignals

/// Starts this gateway's own successor when it is told to (SIGUSR2): the program as it lies on the disk now, with the
/// flags of this process and `--take-over`.
struct Successor: Sendable {
  /// How this process was started.
  let command: [String]
  let logger: Logger

  /// Waits for the signal until the process shuts down.
  var service: RunningService {
    RunningService("successor") {
      await cancelWhenGracefulShutdown {
        for await _ in await UnixSignalsSequence(trapping: .sigusr2) { await start() }
      }
    }
  }

  /// The words to start the successor with: the program by the name it was started by, so that a link that leads to a new
  /// version is followed; one that was found through $PATH by the file it was.
  static func words(_ command: [String], executable: String) -> [String] {
    let name = command.first ?? ""
    let flags = command.dropFirst().filter { $0 != "--take-over" }
    return [name.contains("/") ? name : executable] + flags + ["--take-over"]
  }

  private func start() async {
    do {
      let pid = try spawn()
      logger.notice("successor started", metadata: ["process": "\(pid)", "program": "\(command.first ?? "")"])
      // It outlives this process when it succeeds; when it does not, somebody has to reap it.
      DetachedThread.run {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
      }
    } catch {
      logger.error("successor could not be started, serving on", metadata: ["error": "\(error)"])
    }
  }

  /// Connections of clients are not handed on: one that the child kept open would never end for its client.
  private func spawn() throws -> pid_t {
    let argv: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
    defer { argv.forEach { free($0) } }
    let pid = apus_start(command.first ?? "", argv)
    guard pid > 0 else { throw SystemFailure(command.first ?? "", errno) }
    return pid
  }
}
