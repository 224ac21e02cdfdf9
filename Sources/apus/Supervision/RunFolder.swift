import FoundationEssentials
import Glibc
import PodSandbox

/// Where workers keep what a restart of the machine may take: sockets of pods, locks of slots.
enum RunFolder {
  /// The user of the host who runs this, root of a user namespace or not.
  static var user: UInt32 { HostUsers.current.owner ?? geteuid() }

  /// /run/apus for the host's root; of a user $XDG_RUNTIME_DIR/apus, or /tmp/apus-<user> where there is none. Short: it
  /// begins paths of sockets.
  static var path: String {
    path(user: user, runtime: EnvironmentVariables["XDG_RUNTIME_DIR"]) {
      FileManager.default.fileExists(atPath: $0)
    }
  }

  /// The same, of given facts.
  static func path(user: UInt32, runtime: String?, exists: (String) -> Bool) -> String {
    if user == 0 { return "/run/apus" }
    if let runtime, runtime.hasPrefix("/"), exists(runtime) { return "\(runtime)/apus" }
    return "/tmp/apus-\(user)"
  }

  /// The sockets of one worker's pods.
  static func pods(ofInstance instance: String) -> String { "\(path)/\(instance)" }

  /// Makes it; throws when somebody else has made it before us.
  static func make() throws(Failure) {
    let path = path
    guard mkdir(path, user == 0 ? 0o755 : 0o700) == 0 || errno == EEXIST else {
      throw Failure(
        "cannot make \(path): \(String(cString: strerror(errno)))", next: "Make it, or set XDG_RUNTIME_DIR.")
    }
    guard isOurs(path) else {
      throw Failure(
        "\(path) belongs to somebody else", next: "Remove it, or set XDG_RUNTIME_DIR to a folder of your own.")
    }
  }

  /// A folder, no link, and nobody else's.
  static func isOurs(_ folder: String) -> Bool {
    var status = stat()
    return lstat(folder, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR && status.st_uid == geteuid()
      && status.st_mode & 0o022 == 0
  }
}
