import ClusterTestSupport
import Foundation
import Testing

@testable import FunctionPackage

/// A hostile archive and what it must be refused with.
struct Attack: CustomTestStringConvertible, Sendable {
  let name: String
  let tar: [UInt8]
  let error: ArchiveError
  var testDescription: String { name }

  init(_ name: String, _ error: ArchiveError, _ body: (inout TarBytes) -> Void) {
    self.name = name
    self.error = error
    tar = TarBytes.make(body)
  }

  static let all: [Attack] = names + links + kinds + headers

  static let names: [Attack] = [
    Attack("a name that climbs out", .refused(path: "../x", .outside)) { $0.file("../x", "evil") },
    Attack("a name that climbs out later", .refused(path: "a/../../x", .outside)) { $0.file("a/../../x", "evil") },
    Attack("a name that ends in dots", .refused(path: "a/..", .outside)) { $0.header("a/..", type: "5") },
    Attack("an absolute name", .refused(path: "/etc/passwd", .absolute)) { $0.file("/etc/passwd", "evil") },
    Attack("an absolute name after a dot", .refused(path: ".//etc/x", .badName("has an empty component"))) {
      $0.file(".//etc/x", "evil")
    },
    Attack("a name with a newline", .refused(path: "a\\x0ab", .badName("has a control character"))) { $0.file("a\nb") },
    Attack("a pax name with NUL", .refused(path: "a\\x00b", .badName("has a control character"))) {
      $0.pax(TarBytes.record("path", "a\u{0}b"))
      $0.file("a")
    },
    Attack("a GNU name with NUL", .refused(path: "a\\x00b", .badName("has a control character"))) {
      $0.header("././@LongLink", type: "L", size: 4)
      $0.contents(Array("a\u{0}b\u{0}".utf8))
      $0.file("a")
    },
    Attack("a name that is not UTF-8", .refused(path: "a\u{fffd}b", .badName("is not UTF-8"))) {
      $0.header([0x61, 0xff, 0x62])
    },
    Attack("an empty name", .refused(path: "", .badName("is empty"))) { $0.file("") },
    Attack(
      "a component of 256 bytes",
      .refused(path: String(repeating: "n", count: 120) + "…", .badName("has a component of more than 255 bytes"))
    ) {
      $0.pax(TarBytes.record("path", String(repeating: "n", count: 256)))
      $0.file("n")
    },
    Attack(
      "65 components",
      .refused(path: String(repeating: "d/", count: 60) + "…", .badName("has more than 64 components"))
    ) {
      $0.pax(TarBytes.record("path", String(repeating: "d/", count: 64) + "f"))
      $0.file("n")
    },
    Attack("the same file twice", .refused(path: "a", .duplicate)) {
      $0.file("a", "1")
      $0.file("a", "2")
    },
    Attack("the same file under another spelling", .refused(path: "a", .duplicate)) {
      $0.file("a", "1")
      $0.file("./a", "2")
    },
    Attack("a file where a folder is", .refused(path: "a", .duplicate)) {
      $0.file("a/b", "1")
      $0.file("a", "2")
    },
    Attack("a folder where a file is", .refused(path: "a/b", .throughLink)) {
      $0.file("a", "1")
      $0.file("a/b", "2")
    },
  ]

  static let links: [Attack] = [
    Attack("a link, then a write through it", .refused(path: "dir/x", .throughLink)) {
      $0.header("real/", type: "5")
      $0.header("dir", type: "2", link: "real")
      $0.file("dir/x", "evil")
    },
    Attack("a file in place of a link", .refused(path: "dir", .duplicate)) {
      $0.header("dir", type: "2", link: "real")
      $0.file("dir", "evil")
    },
    Attack("a link to an absolute path", .refused(path: "l", .linkOutside(target: "/etc/passwd"))) {
      $0.header("l", type: "2", link: "/etc/passwd")
    },
    Attack("a link that climbs out", .refused(path: "a/l", .linkOutside(target: "../../x"))) {
      $0.header("a/l", type: "2", link: "../../x")
    },
    Attack("a link that climbs out through another link", .refused(path: "d/l", .linkOutside(target: "b/../x"))) {
      $0.header("d/b", type: "2", link: "..")
      $0.header("d/l", type: "2", link: "b/../x")
    },
    Attack("a link to nothing", .refused(path: "l", .linkOutside(target: ""))) { $0.header("l", type: "2") },
    Attack("a pax link that climbs out", .refused(path: "l", .linkOutside(target: "../x"))) {
      $0.pax(TarBytes.record("linkpath", "../x"))
      $0.header("l", type: "2", link: "fine")
    },
    Attack("a hard link to a host file", .refused(path: "l", .hardLink)) {
      $0.header("l", type: "1", link: "/etc/passwd")
    },
    Attack("a hard link inside", .refused(path: "l", .hardLink)) {
      $0.file("a", "1")
      $0.header("l", type: "1", link: "a")
    },
  ]

  static let kinds: [Attack] = [
    Attack("a character device", .refused(path: "null", .device)) { $0.header("null", type: "3") },
    Attack("a block device", .refused(path: "sda", .device)) { $0.header("sda", type: "4") },
    Attack("a named pipe", .refused(path: "p", .fifo)) { $0.header("p", type: "6") },
    Attack("a set-user-id file", .refused(path: "su", .specialBits)) { $0.file("su", "x", mode: 0o4755) },
    Attack("a set-group-id folder", .refused(path: "d/", .specialBits)) { $0.header("d/", type: "5", mode: 0o2755) },
    Attack("a sparse file", .refused(path: "s", .unsupported("a sparse file"))) { $0.header("s", type: "S") },
    Attack("a sparse file by pax", .refused(path: "pax header", .unsupported("a sparse file"))) {
      $0.pax(TarBytes.record("GNU.sparse.map", "0,1"))
      $0.file("s")
    },
    Attack("an unknown type", .refused(path: "v", .unsupported("an entry of type 'V'"))) { $0.header("v", type: "V") },
  ]

  static let headers: [Attack] = [
    Attack("a wrong checksum", .damagedArchive("the checksum of a header is wrong", offset: 0)) {
      $0.header(Array("a".utf8), sumOff: 1)
    },
    Attack("a size that is no number", .damagedArchive("the size of a header is no number", offset: 0)) {
      $0.header(Array("a".utf8), sizeField: Array("0000000x000".utf8))
    },
    Attack("a negative size", .damagedArchive("the size of a header is no number", offset: 0)) {
      $0.header(Array("a".utf8), sizeField: [UInt8](repeating: 0xff, count: 12))
    },
    Attack("a size beyond all files", .tooManyBytes(limit: 1 << 30, path: "a")) {
      $0.header(Array("a".utf8), sizeField: [0x80, 0, 0, 0, 0, 0x7f] + [UInt8](repeating: 0xff, count: 6))
    },
    Attack("a folder with contents", .damagedArchive("a folder has contents", offset: 0)) {
      $0.header("d", type: "5", size: 512)
      $0.contents([1])
    },
    Attack("two pax headers for one file", .damagedArchive("an entry has two headers of one kind", offset: 1_024)) {
      $0.pax(TarBytes.record("path", "a"))
      $0.pax(TarBytes.record("path", "b"))
      $0.file("c")
    },
    Attack("a pax name and a GNU name", .damagedArchive("an entry has two long names", offset: 2_048)) {
      $0.pax(TarBytes.record("path", "a"))
      $0.header("././@LongLink", type: "L", size: 2)
      $0.contents(Array("b\u{0}".utf8))
      $0.file("c")
    },
    Attack("a pax record twice", .damagedArchive("a pax header has a record twice", offset: 512)) {
      $0.pax(TarBytes.record("path", "a") + TarBytes.record("path", "b"))
      $0.file("c")
    },
    Attack(
      "a pax record longer than its header",
      .damagedArchive("a pax header has a record whose length is wrong", offset: 512)
    ) {
      $0.pax("99 path=a\n")
      $0.file("c")
    },
    Attack("a pax size that is no number", .damagedArchive("a pax header has a size that is no number", offset: 512)) {
      $0.pax(TarBytes.record("size", "-1"))
      $0.file("c")
    },
    Attack(
      "a header for all that renames", .damagedArchive("a header for all entries changes names or sizes", offset: 512)
    ) {
      $0.pax(TarBytes.record("path", "/etc/x"), type: "g")
      $0.file("c")
    },
    Attack("a header for nothing", .damagedArchive("a header describes no entry", offset: 1_024)) {
      $0.pax(TarBytes.record("path", "a"))
    },
    Attack("a gap of zeros", .damagedArchive("a block of zeros stands between entries", offset: 1_024)) {
      $0.file("a")
      $0.contents([UInt8](repeating: 0, count: 512))
      $0.file("b")
    },
    Attack("data after the end", .trailingData) {
      $0.file("a")
      $0.end()
      $0.file("b")
    },
  ]
}

@Suite struct `A hostile archive` {
  @Test(arguments: Attack.all)
  func `is refused by name and leaves nothing`(attack: Attack) throws {
    let folder = try TemporaryFolder()
    let archive = folder.path + "/package.tar.gz"
    try Data(try gzip(attack.tar)).write(to: URL(fileURLWithPath: archive))
    let error = archiveError { try PackageArchive.unpack(archive, into: folder.path + "/out") }
    #expect(error == attack.error)
    #expect(archiveError { _ = try PackageArchive.inspect(archive) } == attack.error)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["package.tar.gz"])
  }

  @Test func `with too many files is refused, folders only named in paths counted`() throws {
    var limits = ArchiveLimits()
    limits.files = 10
    let files = TarBytes.make { tar in for number in 0..<11 { tar.file("f\(number)") } }
    #expect(archiveError { _ = try readTar(files, limits: limits) } == .tooManyFiles(limit: 10, path: "f10"))
    let folders = TarBytes.make { $0.file("1/2/3/4/5/6/7/8/9/10/f") }
    #expect(
      archiveError { _ = try readTar(folders, limits: limits) }
        == .tooManyFiles(limit: 10, path: "1/2/3/4/5/6/7/8/9/10/f"))
    let fits = TarBytes.make { tar in for number in 0..<10 { tar.file("f\(number)") } }
    #expect(try readTar(fits, limits: limits).entries.count == 10)
  }

  @Test func `with too many bytes is refused before they are read`() throws {
    var limits = ArchiveLimits()
    limits.bytes = 1_000
    let tar = TarBytes.make { tar in
      tar.file("a", String(repeating: "a", count: 600))
      tar.file("b", String(repeating: "b", count: 600))
    }
    #expect(archiveError { _ = try readTar(tar, limits: limits) } == .tooManyBytes(limit: 1_000, path: "b"))
  }

  @Test func `that is a bomb is refused early, by its ratio and by its size`() throws {
    let zeros = [UInt8](repeating: 0, count: 40 << 20)
    let tar = TarBytes.make { tar in
      tar.header("zeros", size: zeros.count)
      tar.contents(zeros)
    }
    let bomb = try gzip(tar)
    var reader = try ArchiveReader(limits: ArchiveLimits())
    var sink = ListingSink()
    #expect(archiveError { try reader.feed(bomb, to: &sink) } == .bomb(ratio: 250))
    var limits = ArchiveLimits()
    (limits.bytes, limits.files, limits.ratio) = (1 << 20, 10, 1_000_000)
    // A bomb inside what a header does not declare: it goes on and on after the end of the archive.
    let tail = try gzip(TarBytes.make { $0.file("a") } + zeros)
    var second = try ArchiveReader(limits: limits)
    #expect(archiveError { try second.feed(tail, to: &sink) } == .bomb(ratio: 1_000_000))
  }

  @Test func `that is packed too large is refused`() throws {
    var limits = ArchiveLimits()
    limits.packed = 100
    let folder = try TemporaryFolder()
    let archive = folder.path + "/package.tar.gz"
    try Data(repeating: 1, count: 101).write(to: URL(fileURLWithPath: archive))
    #expect(archiveError { _ = try PackageArchive.inspect(archive, limits: limits) } == .packedTooLarge(limit: 100))
  }

  @Test func `that ends early is refused wherever it was cut`() throws {
    let tar = TarBytes.make { tar in
      tar.file("a/b", String(repeating: "text ", count: 300), mode: 0o755)
      tar.header("a/l", type: "2", link: "b")
    }
    for cut in stride(from: 1, to: tar.count, by: 97) {
      #expect(archiveError { _ = try readTar(Array(tar.dropLast(cut))) } == .truncated, "cut by \(cut)")
    }
    let packed = try gzip(tar)
    for cut in 1..<packed.count {
      var reader = try ArchiveReader(limits: ArchiveLimits())
      var sink = ListingSink()
      let error = archiveError {
        try reader.feed(Array(packed.dropLast(cut)), to: &sink)
        try reader.finish()
      }
      #expect(error == .truncated, "cut by \(cut)")
    }
  }

  @Test func `that is no gzip, has a wrong checksum or a second member is refused`() throws {
    let packed = try gzip(TarBytes.make { $0.file("a", "text") })
    func read(_ bytes: [UInt8]) -> ArchiveError? {
      archiveError {
        var reader = try ArchiveReader(limits: ArchiveLimits())
        var sink = ListingSink()
        try reader.feed(bytes, to: &sink)
        try reader.finish()
      }
    }
    #expect(read(packed) == nil)
    #expect(read(Array("PK\u{3}\u{4} a zip".utf8)) == .damagedGzip("incorrect header check"))
    var wrong = packed
    wrong[wrong.count - 6] ^= 1
    #expect(read(wrong) == .damagedGzip("incorrect data check"))
    #expect(read(packed + packed) == .trailingData)
    #expect(read(packed + [0]) == .trailingData)
    #expect(read([]) == .truncated)
  }

  @Test func `that is not the one asked for is refused and leaves nothing`() throws {
    let folder = try TemporaryFolder()
    let archive = folder.path + "/package.tar.gz"
    try Data(try gzip(TarBytes.make { $0.file("a") })).write(to: URL(fileURLWithPath: archive))
    let found = try PackageArchive.digest(of: archive)
    let other = "sha256:" + String(repeating: "0", count: 64)
    let error = archiveError { try PackageArchive.unpack(archive, into: folder.path + "/out", expecting: other) }
    #expect(error == .digestMismatch(expected: other, found: found))
    let bad = archiveError { try PackageArchive.unpack(archive, into: folder.path + "/out", expecting: "sha256:12") }
    #expect(bad == .badDigest("sha256:12"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["package.tar.gz"])
    try PackageArchive.unpack(archive, into: folder.path + "/out", expecting: found)
    let again = archiveError { try PackageArchive.unpack(archive, into: folder.path + "/out", expecting: found) }
    #expect(again == .exists(folder.path + "/out"))
  }
}

@Suite struct `An archive of another tool` {
  @Test func `may have long names in GNU's and pax's way, and a dot in front`() throws {
    let long = String(repeating: "folder/", count: 20) + "file"
    let tar = TarBytes.make { tar in
      tar.pax(TarBytes.record("comment", "made by git"), type: "g")
      tar.header("./", type: "5", mode: 0o755)
      tar.header("././@LongLink", type: "L", size: long.utf8.count + 1)
      tar.contents(Array("\(long)\u{0}".utf8))
      tar.file("cut", "1")
      tar.pax(TarBytes.record("mtime", "1.5") + TarBytes.record("path", "ä/\(long)"))
      tar.file("cut", "2")
      tar.header("././@LongLink", type: "K", size: long.utf8.count + 1)
      tar.contents(Array("\(long)\u{0}".utf8))
      tar.header("./link", type: "2", link: "cut")
    }
    for pieces in [1, 511, 512, 100_000] {
      let sink = try readTar(tar, pieces: pieces)
      #expect(sink.entries.map(\.path.text) == [long, "ä/\(long)", "link"])
      #expect(sink.entries.last?.kind == .link(target: long))
      #expect(sink.contents.values.sorted { $0.lexicographicallyPrecedes($1) } == [Array("1".utf8), Array("2".utf8)])
    }
  }

  @Test(arguments: ["--format=gnu", "--format=pax", "--format=ustar", "--format=v7"])
  func `written by GNU tar is read`(format: String) async throws {
    let folder = try TemporaryFolder()
    let source = folder.url.appending(path: "source/inner")
    try FileManager.default.createDirectory(at: source, withIntermediateDirectories: true)
    try Data("text".utf8).write(to: source.appending(path: "file.txt"))
    try FileManager.default.createSymbolicLink(atPath: source.path + "/link", withDestinationPath: "file.txt")
    let tar = try await Command.run(
      "tar", [format, "-czf", folder.path + "/p.tgz", "-C", folder.path + "/source", "."])
    try #require(tar.isSuccess, "\(tar.output)")
    let summary = try PackageArchive.unpack(folder.path + "/p.tgz", into: folder.path + "/out")
    #expect(Set(summary.entries.map(\.path.text)) == ["inner", "inner/file.txt", "inner/link"])
    #expect(try String(contentsOfFile: folder.path + "/out/inner/link", encoding: .utf8) == "text")
  }
}
