import ArgumentParser
import ClusterAPI
import ClusterModel

/// `apus calls list|show|retry|purge`.
struct CallsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "calls",
    abstract: "Look at asynchronous calls, run them again, remove dead letters.",
    discussion: """
      A call sent to /async-function/NAME is kept until it was run. Its result is kept for a while; a call that failed
      every time is a dead letter and stays until it is run again or purged.

      Example:
        curl -si http://127.0.0.1:8080/async-function/greet -d Ada      # 202, X-Call-Id
        apus calls list greet
        apus calls show 0198c1f2-7d5e-7c3a-9b1d-2f6a8c4e0d11
        apus calls retry 0198c1f2-7d5e-7c3a-9b1d-2f6a8c4e0d11
        apus calls purge greet
      """,
    subcommands: [CallsList.self, CallsShow.self, CallsRetry.self, CallsPurge.self])
}

/// How calls are written.
enum CallsFormat: String, ExpressibleByArgument, CaseIterable {
  case table, json
}

extension ClusterConnection {
  /// The calls of the cluster.
  var catalog: any CallCatalog {
    get throws {
      guard let calls else { throw Failure("this connection knows no calls") }
      return calls
    }
  }
}

/// `apus calls list`.
struct CallsList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List calls, oldest first.",
    discussion: "Example:\n  apus calls list greet --state dead")

  @Argument(help: "The function; every function when left out.") var function: String?
  @Option(help: "queued, running, retrying, done or dead.") var state: CallState?
  @Option(help: "Calls at most.") var limit = 100
  @OptionGroup var namespace: NamespaceOption
  @Option(name: .shortAndLong, help: "table or json.") var output: CallsFormat = .table
  @OptionGroup var server: ServerOptions

  func validate() throws {
    guard (1...Limits.callsListed).contains(limit) else {
      throw ValidationError("--limit: use 1 to \(Limits.callsListed)")
    }
  }

  func run() async throws {
    let cluster = try server.connect()
    let filter = CallFilter(
      namespace: namespace.namespace ?? cluster.namespace, function: function, state: state, limit: limit)
    let calls = try await cluster.catalog.list(filter)
    if output == .json {
      let items = try calls.map { try JSONValue(encoding: $0) }
      return Terminal.emit(JSONText.pretty(.object(["kind": .string("CallList"), "items": .array(items)])))
    }
    guard !calls.isEmpty else { return Terminal.note("no calls") }
    Terminal.emit(Self.table(calls, now: .now()).text(wide: false))
  }

  /// Calls as a table.
  static func table(_ calls: [CallSummary], now: Timestamp) -> TextTable {
    TextTable(
      columns: ["CALL", "FUNCTION", "STATE", "STATUS", "ATTEMPTS", "AGE", "WHY"].map { TextTable.Column($0) },
      rows: calls.map { call in
        [
          call.id, call.function, call.state.rawValue, call.status.map { "\($0)" } ?? "-", "\(call.attempts)",
          Figures.age(from: call.enqueued, to: now), call.reason ?? "-",
        ]
      })
  }
}

extension CallState: ExpressibleByArgument {}

/// `apus calls show`.
struct CallsShow: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show a call and its result.",
    discussion: """
      Example:
        apus calls show 0198c1f2-7d5e-7c3a-9b1d-2f6a8c4e0d11 -o json
        apus calls show $(apus invoke greet --async -d Ada) --wait
      """)

  @Argument(help: "The call's id (X-Call-Id).") var call: String
  @Flag(help: "Wait until the call is done or dead; then the exit status is 1 for a dead one.") var wait = false
  @OptionGroup var namespace: NamespaceOption
  @Option(name: .shortAndLong, help: "table or json.") var output: CallsFormat = .table
  @OptionGroup var server: ServerOptions

  func run() async throws {
    let cluster = try server.connect()
    let scope = namespace.namespace ?? cluster.namespace
    let catalog = try cluster.catalog
    var detail = try await catalog.show(namespace: scope, id: call)
    while wait, detail.call.state != .done, detail.call.state != .dead {
      try await Task.sleep(for: Self.pause)
      detail = try await catalog.show(namespace: scope, id: call)
    }
    Terminal.emit(output == .json ? JSONText.pretty(try JSONValue(encoding: detail)) : Self.text(detail))
    if wait, detail.call.state == .dead { throw ExitCode(1) }
  }

  /// How often a call that is waited for is looked at.
  static let pause = Duration.milliseconds(250)

  /// A call for people: what it is, then its answer as curl -i shows one.
  static func text(_ detail: CallDetail) -> String {
    let call = detail.call
    var rows = [
      ["Call:", call.id], ["Function:", "\(call.namespace)/\(call.function)"],
      ["Request:", "\(detail.method) \(detail.path), \(Figures.bytes(Int64(detail.bodyBytes)))"],
      ["State:", call.state.rawValue], ["Attempts:", "\(call.attempts)"], ["Taken:", call.enqueued.text(digits: 3)],
    ]
    if let owner = detail.owner { rows.append(["Sender:", "the credential \(owner.prefix(19))…"]) }
    if let next = call.next { rows.append(["Next attempt:", next.text(digits: 3)]) }
    if let ended = call.ended { rows.append(["Ended:", ended.text(digits: 3)]) }
    if let reason = call.reason { rows.append(["Why:", reason]) }
    if let url = detail.callback { rows.append(["Callback:", "\(url), \(detail.callbackOutcome ?? "not yet")"]) }
    let lines = TextTable(columns: [TextTable.Column(""), TextTable.Column("")], rows: rows)
      .lines(wide: false, heading: false)
    var text = lines.map { $0 + "\n" }.joined()
    guard let result = detail.result else { return text }
    text += "\nHTTP \(result.status) after \(Figures.milliseconds(result.seconds * 1000))\n"
    for header in result.headers { text += Text.visible("\(header.name): \(header.value)") + "\n" }
    let body = String(decoding: result.body, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
    text += "\n" + body.map { Text.visible(String($0)) }.joined(separator: "\n")
    if text.last != "\n" { text += "\n" }
    return result.truncated ? text + "(the rest was not kept)\n" : text
  }
}

/// `apus calls retry`.
struct CallsRetry: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "retry", abstract: "Run a dead letter, or a call that is done, once more.",
    discussion: "Example:\n  apus calls retry 0198c1f2-7d5e-7c3a-9b1d-2f6a8c4e0d11")

  @Argument(help: "The calls' ids.") var calls: [String]
  @OptionGroup var namespace: NamespaceOption
  @OptionGroup var server: ServerOptions

  func run() async throws {
    let cluster = try server.connect()
    for id in calls {
      let call = try await cluster.catalog.retry(namespace: namespace.namespace ?? cluster.namespace, id: id)
      Terminal.print("call \(call.id) of \(call.function) is queued again")
    }
  }
}

/// `apus calls purge`.
struct CallsPurge: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "purge", abstract: "Remove the dead letters of a function.",
    discussion: "Example:\n  apus calls purge greet")

  @Argument(help: "The function.") var function: String
  @OptionGroup var namespace: NamespaceOption
  @OptionGroup var server: ServerOptions

  func run() async throws {
    let cluster = try server.connect()
    let count = try await cluster.catalog.purge(
      namespace: namespace.namespace ?? cluster.namespace, function: function)
    Terminal.print("\(count) dead \(count == 1 ? "letter" : "letters") of \(function) removed")
  }
}
