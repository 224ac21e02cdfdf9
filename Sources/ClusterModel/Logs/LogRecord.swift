/// How serious a log record is, in rising order.
package enum LogLevel: String, Codable, Hashable, Sendable, CaseIterable, Comparable {
  case trace, debug, info, warn, error, fatal

  /// The level a line's own word means (`WARNING`, `err`, `critical` …), or nil.
  package init?(word: String) {
    switch word.lowercased() {
    case "trace", "verbose": self = .trace
    case "debug": self = .debug
    case "info", "information", "notice", "log": self = .info
    case "warn", "warning": self = .warn
    case "error", "err", "severe": self = .error
    case "fatal", "critical", "crit", "panic", "alert", "emerg", "emergency": self = .fatal
    default: return nil
    }
  }

  /// Orders by seriousness.
  package static func < (left: LogLevel, right: LogLevel) -> Bool { left.rank < right.rank }

  private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}

/// Where a log record came from.
package enum LogStream: String, Codable, Hashable, Sendable, CaseIterable {
  case stdout, stderr, access, event, platform
}

/// One log record with its final schema: one JSON object a line.
package struct LogRecord: Codable, Hashable, Sendable {
  /// When the worker read it.
  package var time: Timestamp
  /// The function's namespace.
  package var namespace: String
  /// The function's name; empty for the platform's own records.
  package var function: String
  /// The revision's name.
  package var revision: String
  /// The pod's name.
  package var pod: String
  /// The node's name.
  package var node: String
  /// Where it came from.
  package var stream: LogStream
  /// How serious it is.
  package var level: LogLevel
  /// The call it belongs to; empty when unknown.
  package var call: String
  /// The message.
  package var msg: String
  /// The line's own fields, flattened with dots.
  package var fields: [String: JSONValue]

  /// A record of its parts.
  package init(
    time: Timestamp, namespace: String, function: String = "", revision: String = "", pod: String = "",
    node: String = "", stream: LogStream, level: LogLevel = .info, call: String = "", msg: String,
    fields: [String: JSONValue] = [:]
  ) {
    self.time = time
    self.namespace = namespace
    self.function = function
    self.revision = revision
    self.pod = pod
    self.node = node
    self.stream = stream
    self.level = level
    self.call = call
    self.msg = msg
    self.fields = fields
  }

  /// Writes the record as one NDJSON line with the time's nine digits first.
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(time.text(digits: 9), forKey: .time)
    try container.encode(namespace, forKey: .namespace)
    try container.encode(function, forKey: .function)
    try container.encode(revision, forKey: .revision)
    try container.encode(pod, forKey: .pod)
    try container.encode(node, forKey: .node)
    try container.encode(stream, forKey: .stream)
    try container.encode(level, forKey: .level)
    try container.encode(call, forKey: .call)
    try container.encode(msg, forKey: .msg)
    try container.encode(fields, forKey: .fields)
  }

  private enum CodingKeys: String, CodingKey {
    case time, namespace, function, revision, pod, node, stream, level, call, msg, fields
  }
}
