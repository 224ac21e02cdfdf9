import ClusterAPI
import ClusterModel

/// What a follower has shown, and which history it asks for when its stream is opened, at first and anew; pure.
///
/// Lines come in the order of their arrival, not of their times: one from a node whose clock is ahead says nothing of
/// what is missing. So it is our own clock that says since when the stream was not whole.
struct FollowCourse {
  /// How far before the stream was last whole the history begins: the clocks of nodes differ, and records are some time
  /// on their way. Milliseconds.
  static let margin: Int64 = 120_000

  private let asked: LogRequest
  private var seen = RecentLines()
  /// When the stream was last known to be whole.
  private var whole: Timestamp?
  /// What is older was not asked for.
  private var floor: Timestamp?

  /// The course of a request whose limit bounds the history before the first new line.
  init(_ request: LogRequest) {
    asked = request
    floor = request.since
  }

  /// Whether there was a stream, and the history before it.
  var hasBegun: Bool { whole != nil }

  /// The history to ask for once a stream is open.
  var history: LogRequest {
    guard let whole else { return asked }
    var past = asked
    let since = whole.advanced(milliseconds: -Self.margin)
    past.since = floor.map { max($0, since) } ?? since
    past.limit = Logs.linesBounded
    return past
  }

  /// Takes the answer to `history`, newest first, of a stream that was opened before; answers the lines to show, oldest
  /// first, and at how many lines the answer ended though more may be missing.
  mutating func take(history lines: [[UInt8]], opened: Timestamp) -> (new: [[UInt8]], limit: Int?) {
    let limit = history.limit
    let isFull = lines.count >= limit
    if whole == nil {
      let times = lines.compactMap { LogFollower.time(of: $0) }
      // There are older lines that are not to be shown, now or later.
      if isFull || times.count < lines.count, let oldest = times.min() { floor = max(oldest, floor ?? oldest) }
    }
    whole = opened
    var new: [[UInt8]] = []
    for line in lines.reversed() where isNew(line) { new.append(line) }
    return (new, isFull && limit >= Logs.linesBounded ? limit : nil)
  }

  /// Takes a line of the stream; answers whether to show it.
  mutating func take(_ line: [UInt8], at now: Timestamp) -> Bool {
    whole = now
    return isNew(line)
  }

  /// A line without a time is a notice, or was cut down so: two that are alike are not the same one.
  private mutating func isNew(_ line: [UInt8]) -> Bool {
    if LogFollower.time(of: line) == nil { return true }
    return seen.insert(line)
  }
}

/// The last lines that were shown, so that a line is never shown twice where two answers overlap.
struct RecentLines {
  /// Lines remembered at most: a history of which all is new does not push out what it overlaps with.
  static let capacity = 2 * Logs.linesBounded

  private var order: [Int] = []
  private var next = 0
  private var known: Set<Int> = []

  /// Remembers a line; false when it was remembered already.
  mutating func insert(_ line: [UInt8]) -> Bool {
    let hash = line.hashValue
    guard known.insert(hash).inserted else { return false }
    if order.count < Self.capacity {
      order.append(hash)
    } else {
      known.remove(order[next])
      order[next] = hash
      next = (next + 1) % Self.capacity
    }
    return true
  }
}
