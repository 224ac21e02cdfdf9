import ClusterModel
import Synchronization

/// Where the records of all pods of this node go: limited by function, then to the spool, before anything else.
///
/// What is dropped is counted by function and told in one record: too many lines or bytes in a second, or a full spool.
final class LogJournal: Sendable {
  /// One function on this node.
  struct Key: Hashable, Sendable {
    var namespace: String
    var function: String
  }

  private struct Account {
    var limiter = LineLimiter()
    var spoolDropped = 0
    var pods = 0
    var maker: RecordMaker
  }

  private let accounts = Mutex<[Key: Account]>([:])
  private let spool: Spool
  private let clock: @Sendable () -> Moment
  /// What is masked in every line before it is spooled.
  let masks: LogMasks
  /// Outputs that hold a stack trace: what sends on what has waited long enough, and answers when to ask again.
  private let holding = Mutex<[ObjectIdentifier: @Sendable (Moment) -> Int64?]>([:])

  /// A journal before a spool.
  init(spool: Spool, masks: LogMasks = .standard, clock: @escaping @Sendable () -> Moment = Moment.now) {
    self.spool = spool
    self.masks = masks
    self.clock = clock
  }

  /// Has `flush` asked until it answers nil: it sends on the traces whose next line did not come, and answers when the
  /// next wait ends on the monotonic clock.
  func hold(_ output: ObjectIdentifier, flush: @escaping @Sendable (Moment) -> Int64?) {
    holding.withLock { $0[output] = flush }
  }

  /// Lets go of an output that holds nothing.
  func release(_ output: ObjectIdentifier) { holding.withLock { $0[output] = nil } }

  /// Sends on what waits for nothing any more; milliseconds until the next wait ends.
  private func flushHeld(_ now: Moment) -> Int32? {
    let all = holding.withLock { $0 }
    if all.isEmpty { return nil }
    var next: Int64?
    for (output, flush) in all {
      guard let due = flush(now) else {
        release(output)
        continue
      }
      next = min(next ?? due, due)
    }
    return next.map { Int32(clamping: max(0, $0 - now.uptime + 999_999) / 1_000_000) }
  }

  /// Notes that a pod of a function writes here.
  func open(_ maker: RecordMaker) -> Key {
    let key = Key(namespace: maker.namespace, function: maker.function)
    accounts.withLock { $0[key, default: Account(maker: maker)].pods += 1 }
    return key
  }

  /// Notes that a pod writes no more; the last one tells what is still untold.
  func close(_ key: Key) {
    let now = clock()
    accounts.withLock { accounts in
      guard var account = accounts[key] else { return }
      account.pods -= 1
      if account.pods <= 0 {
        tell(&account, now)
        if let dropped = account.limiter.takeDropped() { _ = spool.append([Self.limited(dropped, account.maker, now)]) }
        accounts[key] = nil
      } else {
        accounts[key] = account
      }
    }
  }

  /// Lets `make` produce the records of one chunk of a pod's output, asking the limiter for each line, and spools them.
  /// Once lines found no room, none passes before it was told how many.
  func write(_ key: Key, _ make: (_ limiter: inout LineLimiter, _ now: Moment) -> [[UInt8]]) {
    let now = clock()
    accounts.withLock { accounts in
      guard var account = accounts[key] else { return }
      let records = make(&account.limiter, now)
      tell(&account, now)
      let stored = account.spoolDropped > 0 || records.isEmpty ? 0 : spool.append(records)
      account.spoolDropped += records.count - stored
      accounts[key] = account
    }
  }

  /// Tells drops that are due, and answers when to ask again, in milliseconds; nil when nothing is pending.
  func tellDrops() -> Int32? {
    let now = clock()
    let held = flushHeld(now)
    return accounts.withLock { accounts in
      var next = held
      for (key, value) in accounts {
        var account = value
        tell(&account, now)
        if account.spoolDropped > 0 { next = min(next ?? Self.askAgain, Self.askAgain) }
        if let due = account.limiter.due(uptime: now.uptime) { next = min(next ?? due, due) }
        accounts[key] = account
      }
      return next
    }
  }

  /// Milliseconds until a full spool is tried again.
  private static let askAgain: Int32 = 1000

  /// Spools what is to be told of an account's drops; what finds no room stays counted.
  private func tell(_ account: inout Account, _ now: Moment) {
    if let dropped = account.limiter.overdue(uptime: now.uptime) {
      if spool.append([Self.limited(dropped, account.maker, now)]) == 0 { account.spoolDropped += dropped }
    }
    if account.spoolDropped > 0, spool.append([Self.full(account.spoolDropped, account.maker, now)]) == 1 {
      account.spoolDropped = 0
    }
  }

  private static func limited(_ count: Int, _ maker: RecordMaker, _ now: Moment) -> [UInt8] {
    let message =
      "\(count) lines dropped: more than \(Limits.logLinesPerSecond) lines or \(Limits.logBytesPerSecond >> 20) MiB in a "
      + "second"
    return notice(message, "rate", count, maker, now)
  }

  private static func full(_ count: Int, _ maker: RecordMaker, _ now: Moment) -> [UInt8] {
    notice("\(count) lines dropped: the node's log spool was full", "spool", count, maker, now)
  }

  private static func notice(
    _ message: String, _ cause: String, _ count: Int, _ maker: RecordMaker, _ now: Moment
  ) -> [UInt8] {
    let fields: [String: JSONValue] = ["dropped": .int(Int64(count)), "cause": .string(cause)]
    return RecordWriter.line(maker.notice(message, level: .warn, fields: fields, at: now.wall))
  }
}
