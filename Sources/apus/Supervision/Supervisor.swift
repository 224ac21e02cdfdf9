import ClusterModel
import Glibc
import Logging

/// Starts one server and its workers, and starts them again when they end; keeps no state of its own.
actor Supervisor {
  /// What to run.
  struct Plan: Sendable {
    /// The data folder.
    let folder: DataFolder
    /// How many workers.
    let workers: Int
    /// Whether a process that ended is started again.
    let restart: Bool
    /// Flags handed on to the server.
    let serverFlags: [String]
    /// Flags handed on to the workers.
    let workerFlags: [String]
  }

  private let plan: Plan
  private let executable: String
  private let logger: Logger
  private let join: @Sendable () async throws -> (api: String, token: String)
  private var board: ProcessBoard
  private var children: [String: ChildProcess] = [:]
  private var stopping = false

  /// A supervisor; `join` answers the API's URL and a fresh join token once the server is up.
  init(
    plan: Plan, executable: String, logger: Logger,
    join: @escaping @Sendable () async throws -> (api: String, token: String)
  ) {
    self.plan = plan
    self.executable = executable
    self.logger = logger
    self.join = join
    board = ProcessBoard(phase: "starting", supervisor: getpid(), processes: [])
  }

  /// Runs until the task is cancelled; then stops the workers, and after them the server.
  func run() async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { await self.keep("server", role: "server") }
      for index in 1...max(1, plan.workers) where plan.workers > 0 {
        group.addTask { await self.keep("worker-\(index)", role: "worker") }
      }
      await group.waitForAll()
    }
  }

  /// Asks every process to end: workers first, so that the server can still take their last reports.
  func stop() async {
    stopping = true
    board.phase = "stopping"
    board.write(plan.folder)
    for (name, child) in children where name != "server" { child.signal(SIGTERM) }
  }

  private func arguments(_ name: String, role: String, api: String) -> [String] {
    let ending = board.processes.first { $0.name == name }?.lastEnding
    let after = ending.map { ["--after", $0] } ?? []
    guard role == "worker" else {
      return ["server", "--data", plan.folder.path, "--supervised"] + plan.serverFlags + after
    }
    return ["worker", "--name", name, "--data", plan.folder.path, "--join", api, "--supervised"] + plan.workerFlags
      + after
  }

  /// Keeps one process running.
  private func keep(_ name: String, role: String) async {
    var schedule = RestartSchedule()
    while !stopping {
      let started = Timestamp.now()
      guard let ending = await runOnce(name, role: role) else { return }
      note(name, ending: ending)
      if stopping || !plan.restart {
        // A process that fails while it stops is told too: it may have left something behind.
        if ending != .exited(0) {
          logger.warning("process ended", metadata: ["process": "\(name)", "ending": "\(ending)"])
        }
        return
      }
      let wait = schedule.ended(afterRunning: Timestamp.now().milliseconds(since: started))
      logger.warning(
        "process ended", metadata: ["process": "\(name)", "ending": "\(ending)", "restart.ms": "\(wait)"])
      try? await Task.sleep(for: .milliseconds(wait))
    }
  }

  /// Starts a process and waits for its end; nil when it never started because all is stopping.
  private func runOnce(_ name: String, role: String) async -> ChildProcess.Ending? {
    var api = ""
    var token: String?
    if role == "worker" {
      guard let joined = await joinPatiently() else { return nil }
      (api, token) = joined
    }
    if stopping { return nil }
    do {
      let child = try ChildProcess.start(
        executable, arguments(name, role: role, api: api), line: token, output: "\(plan.folder.output)/\(name).log",
        session: false)
      children[name] = child
      enter(name, role: role, pid: child.pid)
      let ending = await child.ending()
      children[name] = nil
      child.release()
      if stopping, role == "worker", !children.keys.contains(where: { $0 != "server" }) {
        children["server"]?.signal(SIGTERM)
      }
      return ending
    } catch {
      logger.error("process could not be started", metadata: ["process": "\(name)", "error": "\(error)"])
      return .exited(127)
    }
  }

  /// Waits for the server with growing pauses (20 ms … 500 ms); nil when all is stopping.
  private func joinPatiently() async -> (api: String, token: String)? {
    var pause: Int64 = 20
    while !stopping {
      if let joined = try? await join() { return joined }
      try? await Task.sleep(for: .milliseconds(pause))
      pause = min(500, pause * 2)
    }
    return nil
  }

  private func enter(_ name: String, role: String, pid: Int32) {
    if let index = board.processes.firstIndex(where: { $0.name == name }) {
      board.processes[index].pid = pid
      board.processes[index].restarts += 1
      board.processes[index].since = .now()
    } else {
      board.processes.append(.init(name: name, role: role, pid: pid, restarts: 0, since: .now()))
      board.processes.sort { ($0.role, $0.name) < ($1.role, $1.name) }
    }
    board.phase = stopping ? "stopping" : "running"
    board.write(plan.folder)
    if stopping { children[name]?.signal(SIGTERM) }
  }

  private func note(_ name: String, ending: ChildProcess.Ending) {
    guard let index = board.processes.firstIndex(where: { $0.name == name }) else { return }
    board.processes[index].pid = 0
    board.processes[index].lastEnding = "\(ending)"
    board.write(plan.folder)
  }

  /// Ends the server too when no worker is left to wait for.
  func stopServerIfAlone() {
    if !children.keys.contains(where: { $0 != "server" }) { children["server"]?.signal(SIGTERM) }
  }
}
