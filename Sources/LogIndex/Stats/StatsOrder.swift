internal import Glibc

/// Puts the groups of statistics in order. Spans and combinations of keys get places in their order once, so that most of
/// the order of many groups is that of small numbers.
struct StatsOrder {
  /// By what groups are told apart.
  private enum Measure {
    case time
    /// The places of a combination's key.
    case key([Int32])
    case figure(Int)
  }

  private let stats: LogStats
  private let groups: GroupTable
  private let keys: [[[UInt8]?]]
  private let figures: [[StatFigure]]
  /// The place of each combination.
  private let places: [Int32]

  init(_ stats: LogStats, _ groups: GroupTable, keys: [[[UInt8]?]], figures: [[StatFigure]]) {
    self.stats = stats
    self.groups = groups
    self.keys = keys
    self.figures = figures
    places =
      Self.places(keys.count) { left, right in
        for (mine, others) in zip(keys[left], keys[right]) {
          if let before = Self.isBefore(mine, others) { return before }
        }
        return false
      }.places
  }

  /// The groups' numbers in order, cut to the limit.
  func numbers(limit: Int?) -> [Int32] {
    let numbers = stats.order.isEmpty ? byTime() : asAsked()
    return limit.map { Array(numbers.prefix($0)) } ?? numbers
  }

  /// By time, then by keys.
  private func byTime() -> [Int32] {
    let ofGroups = groups.keys.map { places[Int($0)] }
    var numbers = Self.sorted((0..<groups.count).map { Int32($0) }, by: ofGroups, below: keys.count)
    if stats.bucket != nil {
      let (spans, count) = spans()
      numbers = Self.sorted(numbers, by: spans, below: count)
    }
    return numbers
  }

  /// As the query says; what it leaves open by time, keys and figures.
  private func asAsked() -> [Int32] {
    let first = stats.bucket == nil ? 0 : 1
    let measures = stats.order.map { step -> (Measure, Bool) in
      if step.column < first { return (.time, step.isDescending) }
      let key = step.column - first
      guard key < stats.keys.count else { return (.figure(key - stats.keys.count), step.isDescending) }
      let keys = keys
      let places = Self.places(keys.count) { Self.isBefore(keys[$0][key], keys[$1][key]) ?? false }.places
      return (.key(places), step.isDescending)
    }
    return (0..<groups.count).map { Int32($0) }.sorted { left, right in
      let (left, right) = (Int(left), Int(right))
      for (measure, isDescending) in measures {
        if let before = isBefore(left, right, measure) { return before != isDescending }
      }
      return isBefore(left, right)
    }
  }

  private func isBefore(_ left: Int, _ right: Int, _ measure: Measure) -> Bool? {
    switch measure {
    case .time: Self.isBefore(groups.buckets[left], groups.buckets[right])
    case .key(let places): Self.isBefore(places[Int(groups.keys[left])], places[Int(groups.keys[right])])
    case .figure(let function): figures[function][left].isBefore(figures[function][right])
    }
  }

  private func isBefore(_ left: Int, _ right: Int) -> Bool {
    if let before = isBefore(left, right, .time) ?? isBefore(left, right, .key(places)) { return before }
    for figures in figures {
      if let before = figures[left].isBefore(figures[right]) { return before }
    }
    return false
  }

  /// Texts by their bytes, which is the order of their characters' numbers; what is absent before all.
  private static func isBefore(_ left: [UInt8]?, _ right: [UInt8]?) -> Bool? {
    guard let left, let right else { return left == nil && right == nil ? nil : left == nil }
    let order = memcmp(left, right, min(left.count, right.count))
    return order != 0 ? order < 0 : isBefore(left.count, right.count)
  }

  private static func isBefore<T: Comparable>(_ left: T, _ right: T) -> Bool? { left == right ? nil : left < right }

  /// The place of each group's span of time, and how many there are.
  private func spans() -> ([Int32], Int) {
    guard let least = groups.buckets.min(), let most = groups.buckets.max(), let length = stats.bucket else {
      return ([], 0)
    }
    let (width, isWide) = most.subtractingReportingOverflow(least)
    if !isWide, width / length < Int64(groups.count) * 4 + 1_024 {
      return (groups.buckets.map { Int32(truncatingIfNeeded: ($0 &- least) / length) }, Int(width / length) + 1)
    }
    let (places, count) = Self.places(groups.count) { groups.buckets[$0] < groups.buckets[$1] }
    return (places, count)
  }

  /// The place of each of so many things in their order; the same for those that it does not tell apart.
  private static func places(_ count: Int, _ isBefore: (Int, Int) -> Bool) -> (places: [Int32], count: Int) {
    var places = Array(repeating: Int32(0), count: count)
    var place: Int32 = -1
    var previous: Int?
    for number in (0..<count).sorted(by: isBefore) {
      if previous.map({ isBefore($0, number) }) ?? true { place += 1 }
      places[number] = place
      previous = number
    }
    return (places, Int(place) + 1)
  }

  /// Puts numbers in the order of their places, and leaves those of one place as they are.
  private static func sorted(_ numbers: [Int32], by places: [Int32], below count: Int) -> [Int32] {
    var starts = Array(repeating: Int32(0), count: count + 1)
    for number in numbers { starts[Int(places[Int(number)]) + 1] += 1 }
    for place in 0..<count { starts[place + 1] += starts[place] }
    var sorted = numbers
    for number in numbers {
      let place = Int(places[Int(number)])
      sorted[Int(starts[place])] = number
      starts[place] += 1
    }
    return sorted
  }
}
