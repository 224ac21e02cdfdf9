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
        apus logs greet --since 1h --histogram
        apus logs -f --tail 100 greet
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

  @Flag(help: "How many lines there were when, drawn as bars (the last hour unless --since says otherwise).")
  var histogram = false

  @Flag(help: "Not the lines but how they would be found.")
  var explain = false

  @Option(help: ArgumentHelp("The newest so many lines; with -f those before the first new one.", valueName: "lines"))
  var tail: Int?

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
  /// The time a histogram shows when nobody says: an hour.
  static let histogramMilliseconds: Int64 = 3_600_000
  /// Spans of a histogram, at most.
  static let histogramSpans = 40
  /// Lines of history before a follow.
  static let linesBeforeFollow = 20

  func validate() throws {
    if histogram, follow || stats != nil { throw ValidationError("--histogram goes neither with --stats nor with -f") }
    if explain, follow || histogram { throw ValidationError("--explain goes neither with -f nor with --histogram") }
    if let tail, tail < (follow ? 0 : 1) { throw ValidationError("--tail takes a number of lines") }
    if tail != nil, limit != nil { throw ValidationError("--tail and -n say the same; give one of them") }
    if stats != nil, follow { throw ValidationError("--stats and -f do not go together") }
    if until != nil, follow { throw ValidationError("--until and -f do not go together") }
    if let limit, limit < 1 { throw ValidationError("-n takes a number from 1 on") }
  }

  func run() async throws {
    var search = LogSearch(words: words, call: call, level: level)
    search.platform = platform || stats != nil || histogram
    let now = Timestamp.now()
    let since = try Logs.moment(since, "--since", now)
    let until = try Logs.moment(until, "--until", now)
    let cluster = try server.connect()
    let scope = namespace ?? cluster.namespace
    let bounded = since != nil || call != nil
    let usual =
      follow ? (bounded ? Self.linesBounded : Self.linesBeforeFollow) : (bounded ? Self.linesBounded : Self.linesPlain)
    var request = LogRequest(
      namespaces: allNamespaces ? nil : [scope], query: search.text, since: since, until: until,
      limit: tail ?? limit ?? usual, stats: stats)
    if histogram { return try await chart(request, now, cluster) }
    if explain {
      request.explain = true
      for try await line in try await cluster.logs.query(request) {
        let step = output == .json ? nil : try JSONValue(bytes: line)["step"]?.stringValue
        Terminal.print(step.map(Text.visible) ?? String(decoding: line, as: UTF8.self))
      }
      return
    }
    if stats != nil { return try await statistics(request, cluster) }
    // Without history a stream that broke goes on from now.
    if follow, tail == 0, since == nil { request.since = now }
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
    if found.count >= request.limit, limit == nil, tail == nil {
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

  /// `--histogram`: bars on a terminal, the spans' rows for programs.
  private func chart(_ request: LogRequest, _ now: Timestamp, _ cluster: ClusterConnection) async throws {
    let to = request.until ?? now
    let from = min(request.since ?? to.advanced(milliseconds: -Self.histogramMilliseconds), to)
    let plan = LogHistogram(from: from, to: to, spans: Self.histogramSpans)
    var request = request
    (request.since, request.until, request.stats) = (plan.from, to, plan.stats)
    var rows: [JSONValue] = []
    for try await line in try await cluster.logs.query(request) { rows.append(try JSONValue(bytes: line)) }
    let (spans, truncated) = plan.spans(of: rows)
    switch output {
    case .json, .logfmt:
      for span in spans {
        var row: [String: JSONValue] = ["time": .string(span.time.description), "count": .int(Int64(span.count))]
        for (level, count) in span.values { row[level.isEmpty ? "none" : level] = .int(Int64(count)) }
        Terminal.print(
          output == .logfmt ? LogText.pairs(row) : String(decoding: JSONValue.object(row).encoded(), as: UTF8.self))
      }
    case .text:
      let columns = Terminal.size?.columns ?? LogChart.columnsDefault
      for line in LogChart(columns: columns, colour: Terminal.colour).lines(spans) { Terminal.print(line) }
    }
    if let truncated { Terminal.note("not all lines were counted: \(LogText.lack(truncated))") }
  }

  private static func moment(_ text: String?, _ option: String, _ now: Timestamp) throws(Failure) -> Timestamp? {
    guard let text else { return nil }
    guard let moment = Moment.parse(text, now: now) else {
      throw .usage("\(option): \"\(text)\" is no time; use 10m, 1h, 2026-11-21 or 2026-11-21T02:10:04Z")
    }
    return moment
  }
}
