import ArgumentParser
import ClusterAPI
import ClusterModel
import FoundationEssentials
import Glibc

/// `apus status`.
struct Status: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show whether the cluster runs, where it is, and its processes.",
    discussion: """
      The exit status is 0 when the API answers and 1 when it does not.

      Example:
        apus status
        apus status -o json | jq -r .gateway
      """)

  @Option(name: .shortAndLong, help: "table, json or yaml.") var output: OutputFormat = .table
  @OptionGroup var server: ServerOptions

  /// How long the API may take to answer, milliseconds.
  static let patience: Int64 = 3000

  func run() async throws {
    let folder = server.folder
    let board = ProcessBoard.read(folder).map(Status.alive)
    var report = StatusReport(data: folder.path, kubeconfig: server.kubeconfigPath, board: board)
    if let ports = RememberedPorts.read(folder), let port = ports.admin {
      report.metrics = "http://\(ports.host ?? "127.0.0.1"):\(port)/metrics"
    }
    if let cluster = try? server.connect() {
      report.api = cluster.api
      report.gateway = cluster.gateway
      let silent = Failure("silent")
      let kinds = try? await Deadline.within(Self.patience, else: silent) {
        var some = ListOptions()
        some.limit = StatusReport.functionsMax
        let page = try await cluster.resources.list(.function, namespace: nil, options: some)
        return (try await cluster.list(.node, in: nil), page.items.count)
      }
      if let (nodes, functions) = kinds { report.answered(nodes: nodes, functions: functions) }
    }
    if output.structured {
      Terminal.emit(output.text(of: report.document))
    } else {
      Terminal.emit(report.text(now: .now()))
    }
    if report.phase != "running" { throw ExitCode(Failure.failed) }
  }

  /// The board with the processes that are really there; a board of a killed supervisor is no proof of life.
  private static func alive(_ board: ProcessBoard) -> ProcessBoard {
    var board = board
    board.processes = board.processes.map { entry in
      var entry = entry
      if entry.pid > 0, kill(entry.pid, 0) != 0, errno == ESRCH { entry.pid = 0 }
      return entry
    }
    if kill(board.supervisor, 0) != 0, errno == ESRCH { board.supervisor = 0 }
    return board
  }
}

/// What `apus status` found.
struct StatusReport {
  /// The data folder.
  let data: String
  /// The kubeconfig's path.
  let kubeconfig: String
  /// The supervisor's board; nil when none runs or ran here.
  let board: ProcessBoard?
  /// The API's URL; nil without a kubeconfig.
  var api: String?
  /// The gateway's URL.
  var gateway: String?
  /// The URL of the gateway's figures; nil when no server ran here.
  var metrics: String?
  /// Whether the API answered.
  private(set) var answers = false
  /// Nodes that are ready, and in all.
  private(set) var nodes = (ready: 0, all: 0)
  /// Functions there are, at most `functionsMax`.
  private(set) var functions = 0
  /// Functions that are counted; from there on it is "or more".
  static let functionsMax = 500

  /// A report before anything was asked.
  init(data: String, kubeconfig: String, board: ProcessBoard?) {
    self.data = data
    self.kubeconfig = kubeconfig
    self.board = board
  }

  /// Notes the API's answer.
  mutating func answered(nodes objects: [JSONValue], functions: Int) {
    answers = true
    let ready = objects.filter { object in
      (object.at(path: "status.conditions")?.arrayValue ?? []).contains {
        $0["type"]?.stringValue == "Ready" && $0["status"]?.stringValue == "True"
      }
    }
    nodes = (ready.count, objects.count)
    self.functions = functions
  }

  /// running, starting, stopping, degraded (the supervisor lives, the API does not answer) or stopped.
  var phase: String {
    if answers { return board?.phase == "stopping" ? "stopping" : "running" }
    guard let board, board.supervisor != 0 else { return "stopped" }
    return board.phase == "running" ? "degraded" : board.phase
  }

  /// The document for programs.
  var document: JSONValue {
    let processes = (board?.processes ?? []).map { entry in
      JSONValue.object([
        "name": .string(entry.name), "role": .string(entry.role),
        // Never 0: `kill 0` ends whoever runs it.
        "pid": entry.pid > 0 ? .int(Int64(entry.pid)) : .null,
        "restarts": .int(Int64(entry.restarts)), "since": .string(entry.since.description),
      ])
    }
    func text(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }
    return .object([
      "phase": .string(phase), "gateway": text(gateway), "api": text(api), "metrics": text(metrics),
      "kubeconfig": .string(kubeconfig),
      "data": .string(data), "processes": .array(processes), "functions": .int(Int64(functions)),
      "nodes": .object(["ready": .int(Int64(nodes.ready)), "all": .int(Int64(nodes.all))]),
    ])
  }

  /// The text for people.
  func text(now: Timestamp) -> String {
    var lines = [Self.heading(phase)]
    if let gateway { lines.append("  gateway     \(gateway)/function/NAME") }
    if let api { lines.append("  api         \(api)       kubeconfig: \(kubeconfig)") }
    if let metrics, answers { lines.append("  metrics     \(metrics)") }
    lines.append("  data        \(data)")
    if answers {
      lines.append("  nodes       \(nodes.ready) of \(nodes.all) ready")
      lines.append("  functions   \(functions)\(functions == Self.functionsMax ? " or more" : "")")
    }
    if let board, !board.processes.isEmpty {
      let supervisor = ["supervisor", board.supervisor > 0 ? "\(board.supervisor)" : "-", "", "", ""]
      let table = TextTable(
        columns: ["PROCESS", "PID", "AGE", "RESTARTS", "LAST END"].map { TextTable.Column($0) },
        rows: [supervisor]
          + board.processes.map { entry in
            [
              entry.name, entry.pid > 0 ? "\(entry.pid)" : "-",
              entry.pid > 0 ? Figures.age(from: entry.since, to: now) : "-",
              "\(entry.restarts)", entry.lastEnding ?? "",
            ]
          })
      lines.append("")
      lines += table.lines(wide: true).map { "  " + $0 }
    }
    if phase == "stopped" { lines.append("Start it:  apus up") }
    if phase == "degraded" { lines.append("See \(data)/output for what its processes wrote.") }
    return lines.map { $0 + "\n" }.joined()
  }

  private static func heading(_ phase: String) -> String {
    switch phase {
    case "running": "Apus is up."
    case "starting": "Apus is starting."
    case "stopping": "Apus is stopping."
    case "degraded": "Apus runs, but its API does not answer."
    default: "Apus is not running."
    }
  }
}
