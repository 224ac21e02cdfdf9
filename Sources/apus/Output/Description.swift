import ClusterModel

/// The text of `apus describe`: named lines, then sections.
struct Description {
  /// Width of the names before the values.
  static let nameWidth = 13

  private var lines: [String] = []

  /// An empty description.
  init() {}

  /// A line `Name:  value`; nothing for a nil or empty value. Lines of the value stand below each other.
  mutating func add(_ name: String, _ value: String?) {
    guard let value, !value.isEmpty else { return }
    let parts = value.split(separator: "\n", omittingEmptySubsequences: false).map { Text.visible(String($0)) }
    let margin = String(repeating: " ", count: Self.nameWidth)
    for (index, part) in parts.enumerated() {
      lines.append((index == 0 ? Text.pad(name + ":", Self.nameWidth) : margin) + part)
    }
  }

  /// A section with a heading and indented lines; nothing without lines.
  mutating func section(_ heading: String, _ content: [String]) {
    guard !content.isEmpty else { return }
    lines.append("")
    lines.append(heading + ":")
    lines += content.map { $0.isEmpty ? "" : "  " + $0 }
  }

  /// A section with a table; nothing without rows.
  mutating func section(_ heading: String, _ table: TextTable) {
    guard !table.rows.isEmpty else { return }
    section(heading, table.lines(wide: true))
  }

  /// A section of what happened to an object, newest last (at most 20).
  mutating func events(_ events: [Event], now: Timestamp) {
    let latest = events.sorted { ($0.lastTimestamp, $0.metadata.name) < ($1.lastTimestamp, $1.metadata.name) }.suffix(
      20)
    section(
      "Events",
      TextTable(
        columns: ["LAST SEEN", "TYPE", "REASON", "OBJECT", "COUNT", "MESSAGE"].map { TextTable.Column($0) },
        rows: latest.map { event in
          [
            Figures.age(from: event.lastTimestamp, to: now), event.type, event.reason,
            "\(event.involvedObject.kind.lowercased())/\(event.involvedObject.name)", "\(event.count)",
            Text.firstAndLast(event.message),
          ]
        }))
  }

  /// A section of conditions.
  mutating func conditions(_ conditions: [Condition], now: Timestamp) {
    section(
      "Conditions",
      TextTable(
        columns: ["TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"].map { TextTable.Column($0) },
        rows: conditions.map {
          [
            $0.type, $0.status, Figures.age(from: $0.lastTransitionTime, to: now), $0.reason,
            String($0.message.prefix { $0 != "\n" }),
          ]
        }))
    // The lines a process wrote last stand below the table, each on its own.
    for condition in conditions where condition.message.contains("\n") {
      let rest = condition.message.split(separator: "\n", omittingEmptySubsequences: false).dropFirst()
      lines += rest.map { "    | " + Text.visible(String($0)) }
    }
  }

  /// The whole text with a last newline.
  var text: String { lines.map { $0 + "\n" }.joined() }

  /// A moment with its age: `2026-11-21T02:10:04Z (4m ago)`.
  static func moment(_ time: Timestamp?, now: Timestamp) -> String? {
    time.map { "\($0) (\(Figures.age(from: $0, to: now)) ago)" }
  }

  /// `a=1, b=2`; nil without entries.
  static func pairs(_ pairs: [String: String]?) -> String? {
    guard let pairs, !pairs.isEmpty else { return nil }
    return pairs.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: ", ")
  }
}
