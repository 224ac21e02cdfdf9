import Glibc

/// The open files a process may have.
enum FileLimit {
  /// Files that are kept free for the store, the logs and pods beside client connections.
  static let reserve = 512
  /// Client connections at most, however many files the system allows: each costs memory, too.
  static let connectionsMax = 50_000

  /// Raises the soft limit to the hard one and answers it.
  @discardableResult
  static func raise() -> Int {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
    if limit.rlim_cur < limit.rlim_max {
      limit.rlim_cur = limit.rlim_max
      _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      _ = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
    return Int(clamping: limit.rlim_cur)
  }

  /// How many client connections a gateway may hold: each may need a second file towards a pod.
  static func connections(files: Int) -> Int { min(connectionsMax, max(128, (files - reserve) / 2)) }
}
