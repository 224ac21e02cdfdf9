import ArgumentParser
import ClusterAPI
import ClusterModel

extension LogLevel: ExpressibleByArgument {}
extension LogText.Form: ExpressibleByArgument {}

/// `apus logs [NAME] [QUERY…]`.
struct Logs: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Find log lines, follow them, or count them.",
    discussion: """
      The first word is a function's name when it could be one; the rest is a query: field:value, field:>n, field:a..b,
      words with *, "quoted phrases", AND, OR, NOT and parentheses. Lines stand oldest first.

      Example:
        apus logs greet
        apus logs -f 'level:error'
        apus logs --since 1h 'function:checkout AND duration_ms:>250 AND "card declined"'
        apus logs --call 0195c6d2-7a31-7c11-9a0f-0a4c5b6d7e8f
        apus logs --since 24h --stats 'count() by (function, level) per 5m'
      """)

  @Argument(help: ArgumentHelp("A function's name, then a query.", valueName: "name or query"))
  var words: [String] = []

  @Flag(name: .shortAndLong, help: "Go on with every new line.")
  var follow = false

  @Option(help: ArgumentHelp("Everything one call caused.", valueName: "id"))
  var call: String?

  @Option(help: ArgumentHelp("Lines from then on: a span before now, or a time.", valueName: "1h"))
  var since: String?

  @Option(help: ArgumentHelp("Lines before then: a span before now, or a time.", valueName: "10m"))
  var until: String?

  @Option(help: "Lines of this level and above: trace, debug, info, warn, error, fatal.")
  var level: LogLevel?

  @Option(help: ArgumentHelp("Statistics instead of lines, such as 'count() by (level) per 5m'.", valueName: "pipe"))
  var stats: String?

  @Option(
    name: [.customShort("n"), .long],
    help: ArgumentHelp("The newest so many lines (default 200; 10,000 with --since or --call).", valueName: "lines"))
  var limit: Int?

  @Option(name: .shortAndLong, help: "text, json or logfmt.")
  var output: LogText.Form = .text

  @Flag(help: "With a name alone: the platform's records about it too (calls, events).")
  var platform = false

  @Option(help: ArgumentHelp("The namespace (default: the kubeconfig's, else `default`).", valueName: "name"))
  var namespace: String?

  @Flag(name: [.customShort("A"), .long], help: "Every namespace.")
  var allNamespaces = false

  @OptionGroup var server: ServerOptions

  /// Lines when nothing bounds them.
  static let linesPlain = 200
  /// Lines when a time or a call bounds them.
  static let linesBounded = 10_000
  /// Lines of history before a follow.
  static let linesBeforeFollow = 20

  func validate() throws {
    if stats != nil, follow { throw ValidationError("--stats and -f do not go together") }
    if until != nil, follow { throw ValidationError("--until and -f do not go together") }
    if let limit, limit < 1 { throw ValidationError("-n takes a number from 1 on") }
  }

  func run() async throws {
    var search = LogSearch(words: words, call: call, level: level)
    search.platform = platform || stats != nil
    let now = Timestamp.now()
    let since = try Logs.moment(since, "--since", now)
    let until = try Logs.moment(until, "--until", now)
    let cluster = try server.connect()
    let scope = namespace ?? cluster.namespace
    let bounded = since != nil || call != nil
    let usual =
      follow ? (bounded ? Self.linesBounded : Self.linesBeforeFollow) : (bounded ? Self.linesBounded : Self.linesPlain)
    let request = LogRequest(
      namespaces: allNamespaces ? nil : [scope], query: search.text, since: since, until: until,
      limit: limit ?? usual, stats: stats)
    if stats != nil { return try await statistics(request, cluster) }
    let form = LogText(
      form: output, colour: Terminal.colour, namesFunction: search.function == nil, namesNamespace: allNamespaces)
    if follow {
      try await LogFollower(logs: cluster.logs, request: request).run { Terminal.print(form.line($0)) }
    } else {
      try await lines(request, form, search, scope, cluster)
    }
  }

  private func lines(
    _ request: LogRequest, _ form: LogText, _ search: LogSearch, _ scope: String, _ cluster: ClusterConnection
  ) async throws {
    let found = try await Progress.during("searching") { progress in
      var found: [[UInt8]] = []
      for try await line in try await cluster.logs.query(request) {
        found.append(line)
        if found.count % 1000 == 0 { progress.say("searching: \(found.count) lines") }
      }
      return found
    }
    var shown = found.reversed().map { CallNeighbours.Line(bytes: $0, approximate: false) }
    if call != nil {
      shown = try await CallNeighbours(cluster: cluster, namespaces: request.namespaces).added(to: shown)
    }
    for line in shown { Terminal.print(form.line(line.bytes, approximate: line.approximate)) }
    if found.count >= request.limit, limit == nil {
      Terminal.note("the newest \(request.limit) lines are shown; -n LINES shows more")
    }
    guard found.isEmpty else { return }
    if let function = search.function {
      // Logs outlive functions, so a name without lines is only then an error when there is no such function.
      _ = try await cluster.object(.function, function, in: scope)
    }
    Terminal.note("no lines match")
  }

  private func statistics(_ request: LogRequest, _ cluster: ClusterConnection) async throws {
    var rows: [[String: JSONValue]] = []
    for try await line in try await cluster.logs.query(request) {
      if output == .json {
        Terminal.print(String(decoding: line, as: UTF8.self))
      } else if let row = try JSONValue(bytes: line).objectValue {
        rows.append(row)
      }
    }
    switch output {
    case .json: return
    case .logfmt: for row in rows { Terminal.print(LogText.pairs(row)) }
    case .text:
      guard !rows.isEmpty else { return Terminal.note("no lines match") }
      Terminal.emit(LogStatsTable.table(of: rows).text(wide: true))
    }
  }

  private static func moment(_ text: String?, _ option: String, _ now: Timestamp) throws(Failure) -> Timestamp? {
    guard let text else { return nil }
    guard let moment = Moment.parse(text, now: now) else {
      throw .usage("\(option): \"\(text)\" is no time; use 10m, 1h, 2026-11-21 or 2026-11-21T02:10:04Z")
    }
    return moment
  }
}
