/// Why a manifest could not be read; every case says in which file and, where it can, in which line.
package enum ManifestError: Error, Sendable, Hashable {
  /// The file could not be read.
  case unreadable(file: String, reason: String)
  /// The text is no YAML, or YAML of a kind a manifest does not need.
  case syntax(file: String, line: Int, reason: String)
  /// The document was read, but does not say what it should; one line of text for each fault.
  case invalid(file: String, faults: [String])
}

extension ManifestError: CustomStringConvertible {
  /// What was wrong, as `FILE:LINE: …`, one fault a line.
  package var description: String {
    switch self {
    case .unreadable(let file, let reason): "\(file): \(reason)"
    case .syntax(let file, let line, let reason): "\(file):\(line): \(reason)"
    case .invalid(_, let faults): faults.joined(separator: "\n")
    }
  }
}
