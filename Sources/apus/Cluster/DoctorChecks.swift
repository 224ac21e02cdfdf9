import ClusterModel
import FoundationEssentials
import Glibc

/// The checks of `apus doctor` beside those of the sandbox: tools, libraries, installed files, ports, the disk.
struct DoctorChecks {
  /// The ports of a cluster on one machine, with what listens there.
  static let ports: [(UInt16, String)] = [(8080, "gateway"), (6440, "API"), (8082, "gateway admin")]
  /// Free bytes below which the disk is called nearly full.
  static let freeBytesMin: Int64 = 1 << 30

  /// The cluster's data folder.
  let folder: DataFolder

  /// Every check, in the order a person reads them.
  func all() async -> [DoctorCheck] {
    var checks = [
      await tool(
        "swift", ["--version"], level: .less,
        advice: "for Swift functions install a Swift 6.2+ toolchain from swift.org"),
      await tool(
        "cc", ["--version"], level: .less, advice: "to build apus from a clone: apt-get install build-essential"),
      await tool(
        "npm", ["--version"], level: .less, advice: "for node functions with dependencies: apt-get install npm"),
      await pip(),
      library("sqlite3", "libsqlite3.so.0", "sqlite3_libversion", advice: "apt-get install libsqlite3-0"),
      library("zlib", "libz.so.1", "zlibVersion", advice: "apt-get install zlib1g"),
    ]
    checks += installed()
    checks += Self.ports.map { port($0.0, $0.1) }
    checks.append(disk())
    return checks
  }

  private func tool(_ name: String, _ arguments: [String], level: DoctorCheck.Level, advice: String) async
    -> DoctorCheck
  {
    let step = BuildStep(what: name, executable: name, arguments: arguments, folder: "/")
    guard let output = try? await step.run() else { return DoctorCheck(name, level, "not found", advice: advice) }
    return DoctorCheck(name, .ok, Self.firstLine(output))
  }

  private func pip() async -> DoctorCheck {
    let step = BuildStep(
      what: "pip", executable: "/usr/bin/python3", arguments: ["-m", "pip", "--version"], folder: "/")
    guard let output = try? await step.run() else {
      return DoctorCheck(
        "pip", .less, "not found", advice: "for python functions with a requirements.txt: apt-get install python3-pip")
    }
    return DoctorCheck("pip", .ok, Self.firstLine(output))
  }

  private func library(_ name: String, _ file: String, _ symbol: String, advice: String) -> DoctorCheck {
    typealias VersionFunction = @convention(c) () -> UnsafePointer<CChar>?
    guard let handle = dlopen(file, RTLD_NOW) else {
      return DoctorCheck(name, .missing, "\(file) not found", advice: advice)
    }
    defer { dlclose(handle) }
    guard let address = dlsym(handle, symbol) else {
      return DoctorCheck(name, .missing, "\(file) has no \(symbol)", advice: advice)
    }
    // SAFETY: both functions are declared in their headers as `const char *name(void)` since their first releases.
    let version = unsafeBitCast(address, to: VersionFunction.self)
    return DoctorCheck(name, .ok, version().map { String(cString: $0) } ?? file)
  }

  private func installed() -> [DoctorCheck] {
    let files: InstalledFiles
    do { files = try InstalledFiles.locate() } catch {
      return [DoctorCheck("installed files", .missing, error.message, advice: error.next ?? "")]
    }
    var checks = [DoctorCheck("installed files", .ok, "\(files.share)/functions")]
    for (name, absent) in [("apus-spawner", DoctorCheck.Level.missing), ("apus-egress", .less)] {
      let path = files.companion(name)
      let there = FileManager.default.isExecutableFile(atPath: path)
      checks.append(
        DoctorCheck(
          name, there ? .ok : absent, there ? path : "not beside apus", advice: there ? "" : "build it: make up"))
    }
    return checks
  }

  private func port(_ port: UInt16, _ what: String) -> DoctorCheck {
    let subject = "port \(port)"
    guard let code = Self.bindError(port) else { return DoctorCheck(subject, .ok, "free (\(what))") }
    if code == EADDRINUSE, let board = ProcessBoard.read(folder), board.supervisor > 0, kill(board.supervisor, 0) == 0 {
      return DoctorCheck(subject, .ok, "in use by this cluster (\(what))")
    }
    return DoctorCheck(
      subject, .less, "\(String(cString: strerror(code))) (\(what))",
      advice: "end what listens there (ss -ltnp 'sport = :\(port)'), or give another port; apus up --help")
  }

  /// The error of binding a port on loopback; nil when it is free.
  static func bindError(_ port: UInt16) -> Int32? {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { return errno }
    defer { close(descriptor) }
    var yes: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let bound = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    return bound == 0 ? nil : errno
  }

  private func disk() -> DoctorCheck {
    var path = folder.path
    while !FileManager.default.fileExists(atPath: path), let slash = path.lastIndex(of: "/"), slash != path.startIndex {
      path = String(path[..<slash])
    }
    var info = statvfs()
    guard statvfs(path, &info) == 0 else {
      return DoctorCheck("disk", .less, "\(path) cannot be looked at", advice: "choose another folder with --data")
    }
    let free = Int64(info.f_bavail) * Int64(info.f_frsize)
    let found = "\(Figures.bytes(free)) free for \(folder.path)"
    if access(path, W_OK) != 0 {
      return DoctorCheck(
        "disk", .missing, "\(path) cannot be written", advice: "run as root, or choose another folder with --data")
    }
    return free >= Self.freeBytesMin
      ? DoctorCheck("disk", .ok, found)
      : DoctorCheck("disk", .less, found, advice: "free some space; 1 GB is the least that is comfortable")
  }

  private static func firstLine(_ text: String) -> String { text.split(separator: "\n").first.map(String.init) ?? "" }
}
