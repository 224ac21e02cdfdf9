import ClusterModel

/// Numbers as people read them.
enum Figures {
  /// Bytes with a decimal unit and two digits of interest: `612 B`, `1.2 kB`, `34 MB`.
  static func bytes(_ count: Int64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"]
    var value = Double(count)
    var unit = 0
    while value >= 999.5, unit < units.count - 1 {
      value /= 1000
      unit += 1
    }
    if unit == 0 { return "\(count) B" }
    return "\(value < 9.95 ? fixed(value, 1) : fixed(value, 0)) \(units[unit])"
  }

  /// Milliseconds in a short unit: `0.4ms`, `35ms`, `1.2s`.
  static func milliseconds(_ value: Double) -> String {
    if value < 9.95 { return "\(fixed(value, 1))ms" }
    if value < 999.5 { return "\(fixed(value, 0))ms" }
    return value < 9_950 ? "\(fixed(value / 1000, 1))s" : "\(fixed(value / 1000, 0))s"
  }

  /// The time from one moment to another as Kubernetes writes ages: `12s`, `3m20s`, `4h`, `6d`.
  static func age(from start: Timestamp, to now: Timestamp) -> String {
    let seconds = max(0, now.milliseconds(since: start) / 1000)
    if seconds < 120 { return "\(seconds)s" }
    let minutes = seconds / 60
    if minutes < 10 { return seconds % 60 == 0 ? "\(minutes)m" : "\(minutes)m\(seconds % 60)s" }
    if minutes < 180 { return "\(minutes)m" }
    let hours = minutes / 60
    if hours < 8 { return minutes % 60 == 0 ? "\(hours)h" : "\(hours)h\(minutes % 60)m" }
    if hours < 48 { return "\(hours)h" }
    let days = hours / 24
    return days < 365 ? "\(days)d" : "\(days / 365)y\(days % 365)d"
  }

  /// A number with a fixed count of decimals (0…6), rounded half up.
  static func fixed(_ value: Double, _ decimals: Int) -> String {
    guard value.isFinite, abs(value) < 1e12 else { return "\(value)" }
    var scale: Int64 = 1
    for _ in 0..<decimals { scale *= 10 }
    let scaled = Int64((abs(value) * Double(scale)).rounded(.toNearestOrAwayFromZero))
    let sign = value < 0 && scaled > 0 ? "-" : ""
    if decimals == 0 { return "\(sign)\(scaled)" }
    let fraction = String(scaled % scale)
    return "\(sign)\(scaled / scale).\(String(repeating: "0", count: decimals - fraction.count))\(fraction)"
  }

  /// `1 file`, `3 files`.
  static func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }
}
