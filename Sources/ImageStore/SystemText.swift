import Glibc

/// The system's words for its error numbers.
enum SystemText {
  static func of(_ code: Int32) -> String { String(cString: strerror(code)) }

  /// The error for the current `errno`.
  static func error(_ path: String, _ doing: String) -> ImageError {
    let code = errno
    return code == ENOSPC || code == EDQUOT ? .diskFull(path: path) : .system(path: path, doing: doing, code: code)
  }
}
