import ArgumentParser
import ClusterModel
import LogIndex
import LogService

/// How long and how much of the logs the server keeps, and how much of them in memory.
struct LogKeepOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      How long and how much of the logs to keep: 30d, 20Gi, both with a comma, or all; by default 7d,5Gi. May be \
      repeated for namespaces and functions of which to keep less: team-a=2d, default/chatty=1d,200Mi.
      """, valueName: "rule"))
  var logKeep: [String] = []

  @Option(
    help: ArgumentHelp(
      "Memory for parts of the logs that queries read again and again; by default a 64th of the machine's, from 64Mi "
        + "to 512Mi.", valueName: "size"))
  var logCache: String?

  func validate() throws {
    if let logCache, Self.cacheBytes(logCache) == nil {
      throw ValidationError("--log-cache: \"\(logCache)\" is no size from 1Mi to 1Ti; use 256Mi")
    }
    for text in logKeep where Rule(text) == nil {
      throw ValidationError(
        "--log-keep: \"\(text)\" is no rule; use 7d, 5Gi, 7d,5Gi or all; with NAMESPACE= or NAMESPACE/FUNCTION= before")
    }
    if logKeep.count > Self.rulesMaximum { throw ValidationError("--log-keep: \(Self.rulesMaximum) are the most") }
  }

  /// The options of the service.
  var options: LogServiceOptions {
    var options = LogServiceOptions()
    options.retention = retention
    if let bytes = logCache.flatMap({ Self.cacheBytes($0) }) { options.index.cacheBytes = bytes }
    return options
  }

  private static func cacheBytes(_ text: String) -> Int? {
    guard let size = Quantity(text), (1 << 20...1 << 40).contains(size.milli / 1000) else { return nil }
    return Int(size.milli / 1000)
  }

  private var retention: LogRetention {
    var retention = LogRetention()
    for rule in logKeep.compactMap({ Rule($0) }) {
      guard let namespace = rule.namespace else {
        if rule.isAll || rule.age != nil { retention.maxAge = rule.age }
        if rule.isAll || rule.bytes != nil { retention.maxBytes = rule.bytes }
        continue
      }
      retention.rules.append(
        LogRetentionRule(namespace: namespace, function: rule.function, maxAge: rule.age, maxBytes: rule.bytes))
    }
    return retention
  }

  /// The flags that hand these options on.
  var flags: [String] { logKeep.flatMap { ["--log-keep", $0] } + (logCache.map { ["--log-cache", $0] } ?? []) }

  /// So many rules, at most: each is looked at in every round.
  private static let rulesMaximum = 256

  private struct Rule {
    var namespace: String?
    var function: String?
    var age: Duration?
    var bytes: Int64?
    var isAll = false

    init?(_ text: String) {
      let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard let limits = parts.last else { return nil }
      if parts.count == 2 {
        let names = parts[0].split(separator: "/", omittingEmptySubsequences: false)
        guard names.count <= 2, names.allSatisfy({ !$0.isEmpty }) else { return nil }
        namespace = String(names[0])
        function = names.count == 2 ? String(names[1]) : nil
      }
      if limits == "all" {
        // A part is kept no longer than the whole.
        guard namespace == nil else { return nil }
        isAll = true
        return
      }
      for limit in limits.split(separator: ",", omittingEmptySubsequences: false) {
        if let span = TimeSpan(String(limit)), span.milliseconds > 0, age == nil {
          age = .milliseconds(span.milliseconds)
        } else if let size = Quantity(String(limit)), size.milli >= 1000, bytes == nil {
          bytes = size.milli / 1000
        } else {
          return nil
        }
      }
    }
  }
}
