import Glibc

/// Why something on this node failed.
enum WorkerError: Error, Hashable, CustomStringConvertible {
  /// A system call: what was being done, and errno.
  case system(String, Int32)
  /// Anything else: what was being done and what went wrong.
  case failed(String)

  var description: String {
    switch self {
    case .system(let doing, let code): "\(doing): \(String(cString: strerror(code)))"
    case .failed(let message): message
    }
  }

  /// The error of the system call that just failed.
  static func errno(_ doing: String) -> WorkerError { .system(doing, Glibc.errno) }
}
