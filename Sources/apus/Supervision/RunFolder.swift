import FoundationEssentials
import Glibc
import PodSandbox

/// Where workers keep what a restart of the machine may take: sockets of pods, locks of slots.
///
/// It is the same for all workers of a user on a machine, however each was started, and stays when the user logs out: both
/// are not so of $XDG_RUNTIME_DIR.
enum RunFolder {
  /// The user of the host who runs this, root of a user namespace or not.
  static var user: UInt32 { HostUsers.current.owner ?? geteuid() }

  /// /run/apus for the host's root; `.local/state/apus/run` of a user's home, or /tmp/apus-<user> where that is too long for
  /// what begins paths of sockets.
  static var path: String { path(user: user, home: getpwuid(user).map { String(cString: $0.pointee.pw_dir) }) }

  /// Bytes of it at most: a socket's path has 107, of which an instance and a slot take 17.
  private static let bytesMax = 80

  /// The same, of given facts.
  static func path(user: UInt32, home: String?) -> String {
    if user == 0 { return "/run/apus" }
    if let home, home.hasPrefix("/"), home.count > 1 {
      let path = "\(home)/.local/state/apus/run"
      if path.utf8.count <= bytesMax { return path }
    }
    return "/tmp/apus-\(user)"
  }

  /// The sockets of one worker's pods.
  static func pods(ofInstance instance: String) -> String { "\(path)/\(instance)" }

  /// Makes it; throws when somebody else has made it before us.
  static func make() throws {
    let path = path
    try FileManager.default.createDirectory(
      atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: user == 0 ? 0o755 : 0o700])
    guard isOurs(path) else { throw Failure("\(path) belongs to somebody else", next: "Remove it.") }
  }

  /// A folder, no link, nobody else's, and without `forbidden` among its permissions: nobody else may write to it.
  static func isOurs(_ folder: String, forbidden: mode_t = 0o022) -> Bool {
    var status = stat()
    return lstat(folder, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR && status.st_uid == geteuid()
      && status.st_mode & forbidden == 0
  }
}
