import ClusterTestSupport
import Crypto
import Foundation
import Testing

@testable import FunctionPackage

/// Layers of container images, as root unpacks them: what an overlay needs, and what an attacker would send.
@Suite("Layers", .enabled(if: geteuid() == 0, "owners and whiteouts need root"))
struct LayerTests {
  private let folder: TemporaryFolder
  private var target: String { "\(folder.path)/layers/one" }

  init() throws {
    folder = try TemporaryFolder("apus-layer")
    mkdir("\(folder.path)/layers", 0o755)
  }

  static func digest(_ bytes: [UInt8]) -> String {
    "sha256:" + SHA256.hash(data: bytes).map { String(format: "%02x", $0) }.joined()
  }

  @discardableResult
  private func unpack(
    _ tar: [UInt8], packed: [UInt8]? = nil, diffID: String? = nil, limits: ArchiveLimits = .layer
  ) throws -> LayerSummary {
    let blob = "\(folder.path)/blob-\(UInt32.random(in: 0 ... .max))"
    try Data(packed ?? tar).write(to: URL(filePath: blob))
    return try LayerArchive.unpack(blob, into: target, diffID: diffID ?? Self.digest(tar), limits: limits)
  }

  private func status(_ name: String) -> stat? {
    var status = stat()
    return lstat("\(target)/\(name)", &status) == 0 ? status : nil
  }

  private func text(_ name: String) -> String? { try? String(contentsOfFile: "\(target)/\(name)", encoding: .utf8) }

  /// What is left beside the layer: nothing, after a layer was refused.
  private var left: [String] { (try? FileManager.default.contentsOfDirectory(atPath: "\(folder.path)/layers")) ?? [] }

  private func refusal(_ tar: [UInt8], limits: ArchiveLimits = .layer) -> ArchiveError? {
    let error = archiveError { try unpack(tar, limits: limits) }
    #expect(left == [], "nothing is left")
    return error
  }

  @Test("owners, modes and times are kept, set-id bits are dropped, the sticky bit stays on folders")
  func facts() throws {
    let tar = LayerBytes.make { layer in
      layer.folder("./")
      layer.folder("./home", mode: 0o1777, user: 1000)
      layer.file("./home/a", "text", mode: 0o4755, user: 1000, group: 50, modified: 1_600_000_000)
      layer.file("/absolute", mode: 0o2640)
      layer.file("huge-owner", user: 1_000_000)
      layer.pax([("uid", "70000"), ("gid", "7"), ("mtime", "1500000000.25"), ("path", "named")])
      layer.file("short")
    }
    let summary = try unpack(tar)
    #expect(summary.bytes == 4)
    let home = try #require(status("home"))
    #expect(home.st_mode & 0o7777 == 0o1777 && home.st_uid == 1000)
    let a = try #require(status("home/a"))
    #expect(a.st_mode & 0o7777 == 0o755 && a.st_uid == 1000 && a.st_gid == 50)
    #expect(a.st_mtim.tv_sec == 1_600_000_000)
    #expect(status("absolute")?.st_mode ?? 0 == S_IFREG | 0o640)
    #expect(status("huge-owner")?.st_uid == 65_534)
    let named = try #require(status("named"))
    #expect(named.st_uid == 65_534 && named.st_gid == 7 && named.st_mtim.tv_sec == 1_500_000_000)
    #expect(text("home/a") == "text")
  }

  @Test("a whiteout is a device 0:0, an opaque folder has the attribute, and neither hides the layer's own files")
  func whiteouts() async throws {
    try unpack(
      LayerBytes.make { layer in
        layer.folder("etc")
        layer.file("etc/.wh.gone")
        layer.file("own", "stays")
        layer.file(".wh.own")
        layer.file(".wh.back")
        layer.file("back", "again")
        layer.file("opaque/.wh..wh..opq")
        layer.file("opaque/new", "n")
        layer.file(".wh..wh.plnk", "")
      })
    let gone = try #require(status("etc/gone"))
    #expect(gone.st_mode & S_IFMT == S_IFCHR && gone.st_rdev == 0)
    #expect(text("own") == "stays" && text("back") == "again")
    let question = "import os,sys;print(os.getxattr(sys.argv[1], 'trusted.overlay.opaque'))"
    let attribute = try await Command.run("python3", ["-c", question, "\(target)/opaque"])
    #expect(attribute.output == "b'y'\n")
    #expect(status(".wh..wh.plnk") == nil && status(".wh.own") == nil)
  }

  @Test("entries that lead through the layer's own links stay inside it")
  func throughLinks() throws {
    try unpack(
      LayerBytes.make { layer in
        layer.folder("usr")
        layer.folder("usr/bin")
        layer.link("bin", to: "usr/bin")
        layer.file("bin/tool", "tool")
        layer.folder("etc")
        layer.link("evil", to: "/etc")
        layer.file("evil/apus-was-here", "inside")
        layer.link("up", to: "../../../../../../etc")
        layer.file("up/apus-was-here-too", "inside")
        layer.link("anywhere", to: "/proc/self/root/etc/passwd")
      })
    #expect(text("usr/bin/tool") == "tool")
    #expect(text("etc/apus-was-here") == "inside" && text("etc/apus-was-here-too") == "inside")
    #expect(!FileManager.default.fileExists(atPath: "/etc/apus-was-here"))
    #expect(!FileManager.default.fileExists(atPath: "/etc/apus-was-here-too"))
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "\(target)/up") == "../../../../../../etc")
  }

  @Test("a hard link shares the file; one to what the layer does not hold is refused")
  func hardLinks() throws {
    try unpack(
      LayerBytes.make { layer in
        layer.file("a", "shared", user: 5)
        layer.hardLink("b", to: "./a")
        layer.hardLink("deep/c", to: "/a")
        layer.hardLink("a", to: "a")
      })
    #expect(status("a")?.st_ino == status("b")?.st_ino && status("a")?.st_nlink == 3)
    #expect(text("deep/c") == "shared")
    #expect(PackageArchiveRemoval.gone(target))
    for target in ["/etc/passwd", "../outside", "link/passwd", "folder", "wh"] {
      let error = refusal(
        LayerBytes.make { layer in
          layer.link("link", to: "/etc")
          layer.folder("folder")
          layer.file(".wh.wh")
          layer.hardLink("stolen", to: target)
        })
      #expect(error != nil, "\(target)")
    }
  }

  @Test("a name that comes again is replaced, but no folder that holds something")
  func replacing() throws {
    try unpack(
      LayerBytes.make { layer in
        layer.file("a", "first")
        layer.link("a", to: "b")
        layer.file("a", "last")
        layer.folder("d")
        layer.file("d", "file now")
        layer.link("e", to: "/etc")
        layer.folder("e", mode: 0o700)
        layer.file("e/f", "own")
      })
    #expect(text("a") == "last" && text("d") == "file now" && text("e/f") == "own")
    #expect(status("e")?.st_mode ?? 0 == S_IFDIR | 0o700)
    #expect(PackageArchiveRemoval.gone(target))
    #expect(
      refusal(
        LayerBytes.make { layer in
          layer.file("d/x")
          layer.file("d")
        }) == .refused(path: "d", .duplicate))
  }

  @Test("devices, pipes and sockets are left out; names that leave, and kinds nobody needs, are refused")
  func kinds() throws {
    try unpack(
      LayerBytes.make { layer in
        layer.header("dev/sda", type: "3")
        layer.header("dev/null", type: "4")
        layer.header("pipe", type: "6")
        layer.file("kept")
      })
    #expect(status("dev/sda") == nil && status("pipe") == nil && status("kept") != nil)
    #expect(PackageArchiveRemoval.gone(target))
    #expect(refusal(LayerBytes.make { $0.file("../out") }) == .refused(path: "../out", .outside))
    #expect(refusal(LayerBytes.make { $0.file("a/../../out") }) != nil)
    #expect(refusal(LayerBytes.make { $0.file(".wh...") }) != nil)
    #expect(refusal(LayerBytes.make { $0.file(".wh.") }) != nil)
    #expect(refusal(LayerBytes.make { $0.header("s", type: "S") }) != nil)
    #expect(refusal(LayerBytes.make { $0.link("l", to: "") }) != nil)
    let dangling = LayerBytes.make { layer in
      layer.link("l", to: "nowhere")
      layer.file("l/x")
    }
    #expect(refusal(dangling) == .refused(path: "l", .throughLink))
    let circle = LayerBytes.make { layer in
      layer.link("a", to: "b")
      layer.link("b", to: "a")
      layer.file("a/x")
    }
    #expect(refusal(circle) == .refused(path: "a", .throughLink))
  }

  @Test("links cannot make a place too deep to be removed")
  func depth() throws {
    let long = (0..<4).map { _ in String(repeating: "d", count: 20) }.joined(separator: "/")
    let error = refusal(
      LayerBytes.make { layer in
        var place = long
        layer.file("\(place)/x")
        for number in 0..<30 {
          layer.link("l\(number)", to: "/\(place)")
          layer.folder("l\(number)/\(long)")
          place = "l\(number)/\(long)"
        }
      })
    guard case .refused(_, .badName)? = error else {
      Issue.record("\(String(describing: error))")
      return
    }
  }

  @Test("bombs, damage, a wrong digest and unknown compression are refused and leave nothing")
  func bounds() throws {
    var limits = ArchiveLimits.layer
    (limits.files, limits.bytes, limits.ratioFrom) = (10, 1 << 20, 1 << 16)
    let many = LayerBytes.make { layer in for number in 0..<11 { layer.file("f\(number)") } }
    if case .tooManyFiles? = refusal(many, limits: limits) {} else { Issue.record("many files pass") }
    let deep = LayerBytes.make { $0.file("a/b/c/d/e/f/g/h/i/j/k") }
    if case .tooManyFiles? = refusal(deep, limits: limits) {} else { Issue.record("folders only named in paths pass") }
    let large = LayerBytes.make { $0.header("f", size: 1 << 30) }
    if case .tooManyBytes? = refusal(large, limits: limits) {} else { Issue.record("large files pass") }
    let zeros = LayerBytes.make { layer in
      layer.header("z", size: 1 << 20)
      layer.contents([UInt8](repeating: 0, count: 1 << 20))
    }
    #expect(archiveError { try unpack(zeros, packed: try gzip(zeros), limits: limits) } == .bomb(ratio: 250))
    let cut = Array(LayerBytes.make { $0.file("f", String(repeating: "x", count: 2000)) }.prefix(1500))
    #expect(refusal(cut) == .truncated)
    let fine = LayerBytes.make { $0.file("f") }
    let wrong = Self.digest([])
    #expect(
      archiveError { try unpack(fine, diffID: wrong) } == .digestMismatch(expected: wrong, found: Self.digest(fine)))
    #expect(archiveError { try unpack(fine, packed: [0x28, 0xb5, 0x2f, 0xfd, 0]) } != nil)
    #expect(archiveError { try unpack(fine, packed: [0x1f, 0x8b, 8, 0, 1, 2, 3]) } != nil)
    #expect(left == [])
  }

  @Test("gzip of several members, and an archive without its end blocks, are read")
  func members() throws {
    let tar = Array(LayerBytes.make { $0.file("f", "one") }.dropLast(1024))
    let packed = try gzip(Array(tar.prefix(600))) + gzip(Array(tar.dropFirst(600)))
    try unpack(tar, packed: packed)
    #expect(text("f") == "one")
  }

  @Test("mutated layers are refused or unpacked below their folder, and never trap")
  func fuzz() throws {
    let tar = LayerBytes.make { layer in
      layer.folder("etc")
      layer.link("lib", to: "/usr/lib")
      layer.folder("usr/lib")
      layer.file("lib/a", "a")
      layer.hardLink("b", to: "usr/lib/a")
      layer.file("etc/.wh.x")
      layer.file("etc/.wh..wh..opq")
      layer.pax([("path", "long/name"), ("uid", "7")])
      layer.file("cut", "abc")
    }
    let seed = Soak.seed("layers")
    var random = SeededGenerator(seed: seed)
    var limits = ArchiveLimits.layer
    (limits.files, limits.bytes) = (50, 100_000)
    var accepted = 0
    for round in 0..<400 {
      let mutated = `A hundred thousand mutated archives`.mutate(tar, &random, repairing: true)
      let blob = "\(folder.path)/blob"
      try Data(mutated).write(to: URL(filePath: blob))
      do {
        try LayerArchive.unpack(blob, into: target, diffID: Self.digest(mutated), limits: limits)
        accepted += 1
        try LayerArchiveCheck.inside(target)
        try PackageArchive.remove(target)
      } catch is ArchiveError {}
      #expect(left == [], "seed \(seed), round \(round)")
      #expect(
        try Set(FileManager.default.contentsOfDirectory(atPath: folder.path)) == ["blob", "layers"],
        "seed \(seed), round \(round)")
    }
    #expect(accepted > 10 && accepted < 400, "seed \(seed): the mutations reach both outcomes")
  }
}

private enum PackageArchiveRemoval {
  /// Removes an unpacked layer, so that the next can take its place.
  static func gone(_ path: String) -> Bool {
    try? PackageArchive.remove(path)
    return !FileManager.default.fileExists(atPath: path)
  }
}

private enum LayerArchiveCheck {
  /// Of what an accepted layer holds, nothing is set-id, and the only devices are whiteouts.
  static func inside(_ path: String) throws {
    let walker = FileManager.default.enumerator(atPath: path)
    while let name = walker?.nextObject() as? String {
      var status = stat()
      guard lstat("\(path)/\(name)", &status) == 0 else { continue }
      #expect(status.st_mode & 0o6000 == 0)
      #expect(
        [S_IFREG, S_IFDIR, S_IFLNK].contains(status.st_mode & S_IFMT)
          || (status.st_mode & S_IFMT == S_IFCHR && status.st_rdev == 0))
    }
  }
}
