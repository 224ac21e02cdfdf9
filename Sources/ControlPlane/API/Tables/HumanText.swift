package import ClusterModel

/// Times and amounts as tables show them, after kubectl's own forms.
package enum HumanText {
  /// A length of time in at most two units, as kubectl prints ages: `42s`, `4m12s`, `38m`, `5h3m`, `3d`, `2y40d`.
  package static func age(milliseconds: Int64) -> String {
    let seconds = milliseconds / 1000
    if seconds < -1 { return "<invalid>" }
    if seconds < 120 { return "\(max(0, seconds))s" }
    let minutes = seconds / 60
    if minutes < 10 { return pair(minutes, "m", seconds % 60, "s") }
    if minutes < 180 { return "\(minutes)m" }
    let hours = minutes / 60
    if hours < 8 { return pair(hours, "h", minutes % 60, "m") }
    if hours < 48 { return "\(hours)h" }
    let days = hours / 24
    if days < 8 { return pair(days, "d", hours % 24, "h") }
    if days < 365 * 2 { return "\(days)d" }
    let years = days / 365
    return years < 8 ? pair(years, "y", days % 365, "d") : "\(years)y"
  }

  /// The age of a time (RFC 3339) at `now`; `<unknown>` without one.
  package static func age(_ time: JSONValue?, at now: Timestamp) -> String {
    guard let time = time?.stringValue.flatMap(Timestamp.init(_:)) else { return "<unknown>" }
    return age(milliseconds: now.milliseconds(since: time))
  }

  /// Milliseconds for people: `0.4ms`, `9ms`, `35ms`, `12.3s`; `-` without a value.
  package static func milliseconds(_ value: Double?) -> String {
    guard let value, value >= 0, value < 1e15 else { return "-" }
    if value >= 10_000 { return tenths(value / 1000) + "s" }
    if value >= 9.95 { return "\(Int(value.rounded()))ms" }
    if value > 0, value < 0.05 { return "<0.1ms" }
    return tenths(value) + "ms"
  }

  /// Bytes in the largest binary unit, rounded: `12Mi`, `1.4Gi`; `-` without a value.
  package static func bytes(_ value: Int64?) -> String {
    guard let value, value >= 0 else { return "-" }
    for (size, unit) in [(Int64(1) << 40, "Ti"), (1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")] where value >= size
    {
      let amount = Double(value) / Double(size)
      return (amount < 9.95 ? tenths(amount) : "\(Int(amount.rounded()))") + unit
    }
    return "\(value)"
  }

  private static func pair(_ large: Int64, _ unit: String, _ small: Int64, _ smallUnit: String) -> String {
    small == 0 ? "\(large)\(unit)" : "\(large)\(unit)\(small)\(smallUnit)"
  }

  /// One decimal, dropped when it is 0.
  private static func tenths(_ value: Double) -> String {
    let tenths = Int((value * 10).rounded())
    return tenths % 10 == 0 ? "\(tenths / 10)" : "\(tenths / 10).\(tenths % 10)"
  }
}

extension JSONValue {
  /// The text at a path, or nil.
  func text(_ path: String) -> String? { at(path: path)?.stringValue }
}
