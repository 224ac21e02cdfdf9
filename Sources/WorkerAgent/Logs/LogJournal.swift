import ClusterModel
import Synchronization

/// Where the records of all pods of this node go: limited by function, then to the spool, before anything else.
///
/// What is dropped is counted by function and told in one record: too many lines in a second, or a full spool.
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

  /// A journal before a spool.
  init(spool: Spool, clock: @escaping @Sendable () -> Moment = Moment.now) {
    self.spool = spool
    self.clock = clock
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
    return accounts.withLock { accounts in
      var next: Int32?
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
    let message = "\(count) lines dropped: more than \(Limits.logLinesPerSecond) in a second"
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
