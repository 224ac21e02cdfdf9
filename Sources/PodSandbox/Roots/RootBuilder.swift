import CLinux
import Dispatch
import Foundation
package import Logging
import Synchronization

/// Prepares the read-only roots of pods under DATA/roots/<digest>: copies of the files a runtime needs and of nothing
/// else, so that no pod sees the host's /usr. A root is made once and used by all pods of its kind.
package final class RootBuilder: Sendable {
  private let folder: String
  private let logger: Logger
  /// Copies files and runs the loader, which blocks; one root at a time.
  private let queue = DispatchQueue(label: "apus.sandbox.roots")
  private let counter = Mutex(0)
  /// Roots this process has prepared, so that asking for each pod costs nothing. One for each kind and set of runners.
  private let known = Mutex<[Key: PreparedRoot]>([:])

  /// A request with the size and time of each of its files: a changed runner is another root.
  private struct Key: Hashable {
    var request: RootRequest
    var stamps: [Int]

    init(_ request: RootRequest) {
      self.request = request
      stamps = request.runtimeFiles.flatMap { file -> [Int] in
        var info = stat()
        return stat(file.source, &info) == 0 ? [Int(info.st_size), info.st_mtim.tv_sec, info.st_mtim.tv_nsec] : [-1]
      }
    }
  }

  /// Builds below `folder` (DATA/roots), which is created when missing.
  package init(folder: String, logger: Logger) {
    self.folder = folder
    self.logger = logger
  }

  /// The root for a request: remembered, found, or built in a temporary folder and renamed. Safe beside other
  /// builders. The host's files are looked at once in a process; an upgrade of python is seen after a restart.
  package func root(for request: RootRequest) async throws(RootError) -> PreparedRoot {
    let key = Key(request)
    if var root = known.withLock({ $0[key] }), CgroupFiles.isFolder(root.path) {
      root.reused = true
      return root
    }
    let result: Result<PreparedRoot, RootError> = await withCheckedContinuation { continuation in
      queue.async {
        do throws(RootError) {
          continuation.resume(returning: .success(try self.prepare(request)))
        } catch {
          continuation.resume(returning: .failure(error))
        }
      }
    }
    let root = try result.get()
    known.withLock { $0[key] = root }
    return root
  }

  private func prepare(_ request: RootRequest) throws(RootError) -> PreparedRoot {
    var planner = try RootPlanner()
    let plan = try planner.plan(request)
    var contents: [String: [UInt8]] = [:]
    for file in request.runtimeFiles {
      guard let data = FileManager.default.contents(atPath: file.source) else {
        throw .failed(doing: "reading \(file.source)", errno: errno)
      }
      contents[RootPlan.place(file.destination)] = Array(data)
    }
    let digest = plan.digest(kind: request.kind, contents: contents)
    let path = "\(folder)/\(digest)"
    var ready = PreparedRoot(
      path: path, digest: digest, interpreter: plan.interpreter, reused: true, bytes: plan.bytes)
    if isComplete(plan, at: path) { return ready }
    try build(plan, digest: digest, at: path)
    logger.info(
      "root prepared", metadata: ["root.kind": "\(request.kind.rawValue)", "root.digest": "\(digest)"])
    ready.reused = false
    return ready
  }

  /// Every file is there with its size: a root cut short by a power failure is not taken.
  private func isComplete(_ plan: RootPlan, at path: String) -> Bool {
    guard CgroupFiles.isFolder(path) else { return false }
    for (place, content) in plan.entries {
      var info = stat()
      guard lstat(path + place, &info) == 0 else { return false }
      if case .file(_, let size, _, _, _) = content, UInt64(info.st_size) != size { return false }
      if case .text(let text) = content, Int(info.st_size) != text.utf8.count { return false }
    }
    return true
  }

  private func build(_ plan: RootPlan, digest: String, at path: String) throws(RootError) {
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw .failed(doing: "creating \(folder) (\(error))", errno: EIO)
    }
    removeAbandoned()
    let number = counter.withLock { count in
      count += 1
      return count
    }
    let temporary = "\(folder)/.build-\(getpid())-\(number)-\(UInt32.random(in: 0 ... .max))"
    defer { try? FileManager.default.removeItem(atPath: temporary) }
    guard mkdir(temporary, 0o755) == 0, chmod(temporary, 0o755) == 0 else {
      throw .failed(doing: "creating \(temporary)", errno: errno)
    }
    // Folders sort before what is in them.
    for (place, content) in plan.entries.sorted(by: { $0.key < $1.key }) {
      try put(content, at: temporary + place)
    }
    if rename(temporary, path) == 0 { return }
    guard errno == EEXIST || errno == ENOTEMPTY else { throw .failed(doing: "renaming to \(path)", errno: errno) }
    // Another builder was first, or a damaged root is in the way: it is moved aside, as pods may still use it.
    if isComplete(plan, at: path) { return }
    guard rename(path, "\(temporary)-damaged") == 0, rename(temporary, path) == 0 else {
      throw .failed(doing: "replacing the damaged \(path)", errno: errno)
    }
    try? FileManager.default.removeItem(atPath: "\(temporary)-damaged")
  }

  /// Temporary folders of builders that are no more.
  private func removeAbandoned() {
    for name in CgroupFiles.folders(in: folder) where name.hasPrefix(".build-") {
      guard let builder = name.split(separator: "-").dropFirst().first.flatMap({ pid_t($0) }) else { continue }
      if kill(builder, 0) != 0 && errno == ESRCH { try? FileManager.default.removeItem(atPath: "\(folder)/\(name)") }
    }
  }

  private func put(_ content: RootPlan.Content, at path: String) throws(RootError) {
    switch content {
    case .folder:
      guard mkdir(path, 0o755) == 0, chmod(path, 0o755) == 0 else {
        throw .failed(doing: "creating \(path)", errno: errno)
      }
    case .link(let target):
      guard symlink(target, path) == 0 else { throw .failed(doing: "linking \(path)", errno: errno) }
    case .text(let text):
      let fd = try create(path, mode: 0o644)
      defer { close(fd) }
      let bytes = Array(text.utf8)
      guard write(fd, bytes, bytes.count) == bytes.count else { throw .failed(doing: "writing \(path)", errno: errno) }
    case .file(let source, let size, let seconds, let nanoseconds, let executable):
      let from = open(source, O_RDONLY | O_CLOEXEC)
      guard from >= 0 else { throw .failed(doing: "reading \(source)", errno: errno) }
      defer { close(from) }
      let fd = try create(path, mode: executable ? 0o755 : 0o644)
      defer { close(fd) }
      guard apus_copy_file(from, fd, size) == 0 else { throw .failed(doing: "copying \(source)", errno: errno) }
      // Python trusts its compiled modules only while the source's time is what it was.
      let time = timespec(tv_sec: seconds, tv_nsec: nanoseconds)
      _ = [time, time].withUnsafeBufferPointer { futimens(fd, $0.baseAddress) }
    }
  }

  private func create(_ path: String, mode: mode_t) throws(RootError) -> CInt {
    let fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
    guard fd >= 0, fchmod(fd, mode) == 0 else { throw .failed(doing: "creating \(path)", errno: errno) }
    return fd
  }
}
