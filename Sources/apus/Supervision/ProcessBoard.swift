import ClusterModel
import FoundationEssentials

/// What the supervisor runs, as `apus status` reads it from DATA/run/processes.json.
struct ProcessBoard: Codable, Hashable, Sendable {
  /// starting, running, or stopping.
  var phase: String
  /// The supervisor's process id.
  var supervisor: Int32
  /// Every process, the server first.
  var processes: [Entry]

  /// One process.
  struct Entry: Codable, Hashable, Sendable {
    /// `server`, or the worker's name.
    var name: String
    /// server or worker.
    var role: String
    /// The process id; 0 while it is not running.
    var pid: Int32
    /// Starts after the first.
    var restarts: Int
    /// When it was started last.
    var since: Timestamp
    /// How it ended the last time.
    var lastEnding: String?
  }

  /// Reads the board of a data folder; nil when there is none.
  static func read(_ folder: DataFolder) -> ProcessBoard? {
    FileManager.default.contents(atPath: folder.processes).flatMap {
      try? JSONDecoder().decode(ProcessBoard.self, from: $0)
    }
  }

  /// Replaces the file at once.
  func write(_ folder: DataFolder) {
    guard let data = try? JSONCoding.prettyEncoder.encode(self) else { return }
    try? data.write(to: URL(filePath: folder.processes), options: .atomic)
  }
}
