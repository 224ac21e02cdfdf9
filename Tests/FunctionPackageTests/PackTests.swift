import ClusterTestSupport
import Foundation
import Glibc
import Testing

@testable import FunctionPackage

@Suite struct `Packing a folder` {
  static func write(_ text: String, _ path: String, mode: mode_t = 0o644) throws {
    let url = URL(fileURLWithPath: path)
    try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: url)
    chmod(path, mode)
  }

  static func mode(_ path: String) -> mode_t {
    var status = stat()
    return lstat(path, &status) == 0 ? status.st_mode : 0
  }

  @Test func `gives what was packed back, read-only and owned by who unpacked it`() throws {
    let folder = try TemporaryFolder()
    let source = folder.path + "/source"
    try Self.write("name: greet", source + "/function.yaml", mode: 0o600)
    try Self.write("#!/bin/sh\n", source + "/bin/run", mode: 0o4755)
    try Self.write("", source + "/a-b/empty")
    try FileManager.default.createDirectory(atPath: source + "/nothing", withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(atPath: source + "/bin/again", withDestinationPath: "../bin/run")
    let packed = try PackageArchive.pack(folder: source, to: folder.path + "/p.tgz")
    #expect(packed.files == 3 && packed.bytes == 21)
    #expect(packed.digest == (try PackageArchive.digest(of: packed.path)))
    let out = folder.path + "/out"
    let summary = try PackageArchive.unpack(packed.path, into: out, expecting: packed.digest)
    let names = ["a-b", "a-b/empty", "bin", "bin/again", "bin/run", "function.yaml", "nothing"]
    #expect(summary.entries.map(\.path.text) == names)
    #expect(summary.files == 3 && summary.bytes == 21 && summary.packed == packed.packed)
    #expect(try String(contentsOfFile: out + "/bin/again", encoding: .utf8) == "#!/bin/sh\n")
    let modes: [(String, mode_t)] = [
      ("", S_IFDIR | 0o555), ("/bin", S_IFDIR | 0o555), ("/nothing", S_IFDIR | 0o555), ("/bin/run", S_IFREG | 0o555),
      ("/function.yaml", S_IFREG | 0o444), ("/a-b/empty", S_IFREG | 0o444),
    ]
    for (name, mode) in modes { #expect(Self.mode(out + name) == mode, "\(name)") }
    var status = stat()
    #expect(lstat(out + "/bin/run", &status) == 0 && status.st_uid == getuid())
    try PackageArchive.remove(out)
    #expect(!FileManager.default.fileExists(atPath: out))
    try PackageArchive.remove(out)
  }

  @Test func `gives equal bytes for equal folders, whatever their times and owners`() throws {
    let folder = try TemporaryFolder()
    for (name, files) in [("one", ["b", "a", "c/d"]), ("two", ["c/d", "a", "b"])] {
      for file in files {
        try Self.write("contents of \(file)", "\(folder.path)/\(name)/\(file)", mode: name == "one" ? 0o644 : 0o660)
      }
    }
    #expect(utimes(folder.path + "/two/a", [timeval(tv_sec: 1, tv_usec: 0), timeval(tv_sec: 1, tv_usec: 0)]) == 0)
    let one = try PackageArchive.pack(folder: folder.path + "/one", to: folder.path + "/1.tgz")
    let two = try PackageArchive.pack(folder: folder.path + "/two", to: folder.path + "/2.tgz")
    #expect(one.digest == two.digest)
    chmod(folder.path + "/two/a", 0o755)
    let three = try PackageArchive.pack(folder: folder.path + "/two", to: folder.path + "/3.tgz")
    #expect(three.digest != one.digest)
  }

  @Test func `is undone by unpacking for any tree`() throws {
    let seed = UInt64.random(in: 0...99_999)
    var random = SeededGenerator(seed: seed)
    let folder = try TemporaryFolder()
    for round in 0..<15 {
      let source = "\(folder.path)/s\(round)"
      var expected: [String: [UInt8]] = [:]
      try FileManager.default.createDirectory(atPath: source, withIntermediateDirectories: true)
      for number in 0..<Int.random(in: 0...12, using: &random) {
        let parts = (0..<Int.random(in: 1...5, using: &random)).map { _ in
          "dé\(Int.random(in: 0...2, using: &random))"
            + String(repeating: "x", count: Int.random(in: 0...60, using: &random))
        }
        let path = parts.joined(separator: "/") + "/f\(number)"
        let data = (0..<Int.random(in: 0...3_000, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random)
        }
        try Self.write("", "\(source)/\(path)")
        try Data(data).write(to: URL(fileURLWithPath: "\(source)/\(path)"))
        expected[path] = data
      }
      let packed = try PackageArchive.pack(folder: source, to: "\(folder.path)/\(round).tgz")
      let out = "\(folder.path)/o\(round)"
      let summary = try PackageArchive.unpack(packed.path, into: out, expecting: packed.digest)
      #expect(summary.files == expected.count, "seed \(seed)")
      for (path, data) in expected {
        #expect(try Data(contentsOf: URL(fileURLWithPath: "\(out)/\(path)")) == Data(data), "seed \(seed) \(path)")
      }
      let again = try PackageArchive.pack(folder: out, to: "\(folder.path)/\(round).again.tgz")
      #expect(again.digest == packed.digest, "seed \(seed)")
    }
  }

  @Test func `refuses what must not be in a package, by name`() throws {
    let folder = try TemporaryFolder()
    func refusal(_ name: String, _ make: (String) -> Int32) throws -> ArchiveError? {
      let source = "\(folder.path)/\(name)"
      try Self.write("x", source + "/fine")
      try #require(make(source + "/bad") == 0)
      let error = archiveError { _ = try PackageArchive.pack(folder: source, to: folder.path + "/p.tgz") }
      #expect(!FileManager.default.fileExists(atPath: folder.path + "/p.tgz"))
      return error
    }
    #expect(
      try refusal("absolute") { symlink("/etc/passwd", $0) }
        == .refused(path: "bad", .linkOutside(target: "/etc/passwd")))
    #expect(
      try refusal("climbing") { symlink("../absolute/fine", $0) }
        == .refused(path: "bad", .linkOutside(target: "../absolute/fine")))
    #expect(try refusal("pipe") { mkfifo($0, 0o600) } == .refused(path: "bad", .fifo))
    #expect(try refusal("device") { mknod($0, S_IFCHR | 0o600, 259) } == .refused(path: "bad", .device))
    let newline = try refusal("newline") { path in
      mkdir(path, 0o700) == 0 ? mkfifo(path + "/a\nb", 0o600) : -1
    }
    #expect(newline == .refused(path: "bad/a\\x0ab", .badName("has a control character")))
  }

  @Test func `keeps to its limits and leaves nothing beyond them`() throws {
    let folder = try TemporaryFolder()
    for number in 0..<5 { try Self.write(String(repeating: "\(number)", count: 1_000), "\(folder.path)/s/f\(number)") }
    func pack(_ change: (inout ArchiveLimits) -> Void) -> ArchiveError? {
      var limits = ArchiveLimits()
      change(&limits)
      return archiveError {
        _ = try PackageArchive.pack(folder: folder.path + "/s", to: folder.path + "/p.tgz", limits: limits)
      }
    }
    #expect(pack { $0.files = 4 } == .tooManyFiles(limit: 4, path: "f4"))
    #expect(pack { $0.bytes = 3_500 } == .tooManyBytes(limit: 3_500, path: "f3"))
    #expect(pack { $0.packed = 50 } == .packedTooLarge(limit: 50))
    #expect(!FileManager.default.fileExists(atPath: folder.path + "/p.tgz"))
    #expect(pack { $0.files = 5 } == nil)
  }

  @Test func `names a folder that is not there`() throws {
    let error = archiveError { _ = try PackageArchive.pack(folder: "/nonexistent/greet", to: "/tmp/never.tgz") }
    #expect(error == .system(path: "/nonexistent/greet", doing: "opening", code: ENOENT))
    #expect(error?.description == "opening /nonexistent/greet: No such file or directory")
  }
}

@Suite struct `What a package ignores` {
  @Test(arguments: [
    ("*.log", "a/b.log", false, true), ("*.log", "b.logs", false, false), ("/top", "top", false, true),
    ("/top", "a/top", false, false), ("dir/", "dir", true, true), ("dir/", "dir", false, false),
    ("a/*.js", "a/x.js", false, true), ("a/*.js", "a/b/x.js", false, false), ("a/**/x", "a/b/c/x", false, true),
    ("a/**/x", "a/x", false, true), ("d?g", "dog", false, true), ("d?g", "dg", false, false),
    ("*a*b*c*", "xxaxxbxxc", false, true), ("*a*b*c*", "xxaxxcxxb", false, false), ("#x", "#x", false, false),
    ("", "x", false, false), ("lib ", "lib", true, true),
  ])
  func `follows its patterns`(pattern: String, path: String, isFolder: Bool, ignored: Bool) throws {
    #expect(try IgnoreRules([pattern]).ignores(path, isFolder: isFolder) == ignored)
  }

  @Test func `is what no package needs, what .apusignore says, and what it takes back stays`() throws {
    let folder = try TemporaryFolder()
    let files = [
      ".git/config", "handler.py", "__pycache__/h.pyc", "lib/__pycache__/x", "lib/m.pyc", ".build/x", "cases/one.json",
      "node_modules/.cache/x", "node_modules/m/index.js", "lib/cases/kept", "secret.env", "keep.env", "data/big.bin",
    ]
    for file in files { try `Packing a folder`.write("x", "\(folder.path)/s/\(file)") }
    try `Packing a folder`.write("# mine\n*.env\n!keep.env\r\n/data/\n", folder.path + "/s/.apusignore")
    _ = try PackageArchive.pack(folder: folder.path + "/s", ignoring: ["lib/m*"], to: folder.path + "/p.tgz")
    let entries = try PackageArchive.inspect(folder.path + "/p.tgz").entries
    let packed = entries.filter { $0.kind != .folder }.map(\.path.text)
    #expect(packed == ["handler.py", "keep.env", "lib/cases/kept", "node_modules/m/index.js"])
  }

  @Test func `has at most a thousand patterns`() throws {
    let error = archiveError { _ = try IgnoreRules((0..<1_001).map { "p\($0)" }, file: "x/.apusignore") }
    guard case .badPattern("x/.apusignore", _, _) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
  }
}
