import ArgumentParser
import ClusterModel
import FoundationEssentials
import Glibc
import PodSandbox

/// `apus down`.
struct DownCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "down",
    abstract: "Stop the cluster on this machine; running calls finish first.",
    discussion: """
      Functions, secrets and logs stay in the data folder; `apus up` brings all of it back.

      Example:
        apus down
      """)

  @OptionGroup var role: RoleOptions

  /// How long running calls may take before the processes are killed, milliseconds.
  static let patience: Int64 = 45_000

  func run() async throws {
    let folder = DataFolder.choose(role.data)
    guard FileManager.default.fileExists(atPath: folder.run) else {
      return Terminal.print("Apus is not running: there is no data in \(folder.path).")
    }
    let board = ProcessBoard.read(folder)
    if try FileLock(folder.lock) != nil {
      try endOrphans(board, folder)
      return Terminal.print("Apus is not running.")
    }
    guard let board, board.supervisor > 0 else {
      throw Failure("a cluster starts on \(folder.path) right now", next: "Try again in a moment.")
    }
    Terminal.note("stopping   \(board.processes.count) processes")
    kill(board.supervisor, SIGTERM)
    let start = Timestamp.now()
    var pause: Int64 = 5
    while try FileLock(folder.lock) == nil {
      if Timestamp.now().milliseconds(since: start) > Self.patience {
        Terminal.note("killing    what did not stop within \(Self.patience / 1000) s")
        for process in ProcessBoard.read(folder)?.processes ?? [] where process.pid > 0 { kill(process.pid, SIGKILL) }
        kill(board.supervisor, SIGKILL)
      }
      try await Task.sleep(for: .milliseconds(pause))
      pause = min(100, pause * 2)
    }
    sweep(folder)
    Terminal.print("Apus is down.")
  }

  /// Ends processes whose supervisor was killed, and removes what they left.
  private func endOrphans(_ board: ProcessBoard?, _ folder: DataFolder) throws {
    for process in board?.processes ?? [] where process.pid > 0 {
      let command = FileManager.default.contents(atPath: "/proc/\(process.pid)/cmdline") ?? Data()
      if String(decoding: command, as: UTF8.self).contains(folder.path) { kill(process.pid, SIGKILL) }
    }
    try? FileManager.default.removeItem(atPath: folder.processes)
    sweep(folder)
  }

  /// Removes sockets, cgroups and mounts of this folder's workers.
  private func sweep(_ folder: DataFolder) {
    guard RunFolder.isOurs(RunFolder.path) else { return }
    let workers = (try? FileManager.default.contentsOfDirectory(atPath: folder.path + "/workers")) ?? []
    for name in workers {
      let instance = DataFolder.instance(folder.worker(name))
      Leftovers.sweep(instance: instance, runDirectory: RunFolder.pods(ofInstance: instance))
    }
  }
}
