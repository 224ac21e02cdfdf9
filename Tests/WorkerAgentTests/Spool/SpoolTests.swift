import ClusterTestSupport
import Foundation
import Testing

@testable import WorkerAgent

@Suite("Spool")
struct SpoolTests {
  static func records(_ range: Range<Int>) -> [[UInt8]] { range.map { Array("record \($0)".utf8) } }

  static func all(_ spool: Spool, after: UInt64 = 0) -> [(UInt64, String)] {
    var reader = SpoolReader()
    var found: [(UInt64, String)] = []
    var last = after
    while let batch = try? reader.batch(after: last, in: spool, bytes: 4096, damaged: { _ in }) {
      for (index, line) in batch.lines.enumerated() {
        found.append((batch.first + UInt64(index), String(decoding: line, as: UTF8.self)))
      }
      last = batch.last
    }
    return found
  }

  @Test func `records come back in order with numbers from 1`() throws {
    let folder = try TemporaryFolder()
    let spool = try Spool(directory: folder.path)
    #expect(spool.append(Self.records(0..<10)) == 10)
    #expect(spool.append(Self.records(10..<11)) == 1)
    let found = Self.all(spool)
    #expect(found.map(\.0) == Array(1...11))
    #expect(found.map(\.1) == (0..<11).map { "record \($0)" })
  }

  @Test func `numbers and identity go on after a restart, what was acknowledged does not come back`() throws {
    let folder = try TemporaryFolder()
    var spool: Spool? = try Spool(directory: folder.path)
    let id = try #require(spool?.id)
    _ = spool?.append(Self.records(0..<10))
    spool?.acknowledge(4)
    spool = nil
    spool = try Spool(directory: folder.path)
    let reopened = try #require(spool)
    #expect(reopened.id == id)
    #expect(reopened.acknowledged == 4)
    #expect(Self.all(reopened, after: reopened.acknowledged).map(\.0) == Array(5...10))
    _ = reopened.append(Self.records(10..<12))
    #expect(reopened.last == 12)
  }

  @Test func `segments go when the log service has them`() throws {
    let folder = try TemporaryFolder()
    let spool = try Spool(directory: folder.path, limits: SpoolLimits(bytes: 1 << 20, segmentBytes: 4096))
    for index in 0..<100 { _ = spool.append([Array(repeating: UInt8(index), count: 500)]) }
    #expect(spool.segments.count > 5)
    spool.acknowledge(50)
    #expect(spool.segments.first.map { $0.end > 51 } == true)
    spool.acknowledge(100)
    #expect(spool.segments.count <= 1)
    let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".spool") }
    #expect(files.count == spool.segments.count)
    _ = spool.append(Self.records(0..<1))
    #expect(Self.all(spool, after: 100).map(\.0) == [101])
  }

  @Test func `a full spool takes a prefix and is usable when there is room`() throws {
    let folder = try TemporaryFolder()
    let spool = try Spool(directory: folder.path, limits: SpoolLimits(bytes: 1 << 16, segmentBytes: 4096))
    let big = Array(repeating: [UInt8](repeating: 65, count: 1000), count: 100)
    let taken = spool.append(big)
    #expect(taken > 30 && taken < 100)
    #expect(spool.append(big) == 0)
    spool.acknowledge(UInt64(taken))
    #expect(spool.append(big.prefix(5) + []) == 5)
    #expect(Self.all(spool, after: UInt64(taken)).count == 5)
  }

  @Test func `cut at any byte it opens again with a gap-free prefix and numbers nothing twice`() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/a"
    do {
      let spool = try Spool(directory: path)
      _ = spool.append(Self.records(0..<20))
    }
    let file = "\(path)/00000000000000000001.spool"
    let whole = try Data(contentsOf: URL(fileURLWithPath: file))
    for cut in 0...whole.count {
      try whole.prefix(cut).write(to: URL(fileURLWithPath: file))
      let spool = try Spool(directory: path)
      let found = Self.all(spool)
      #expect(found.map(\.1) == (0..<found.count).map { "record \($0)" }, "cut at \(cut)")
      #expect(spool.last == UInt64(found.count))
      if cut == whole.count { #expect(found.count == 20) }
      #expect(spool.append([Array("next".utf8)]) == 1)
      #expect(Self.all(spool).last?.0 == UInt64(found.count + 1))
      for name in try FileManager.default.contentsOfDirectory(atPath: path) where name.hasSuffix(".spool") {
        try FileManager.default.removeItem(atPath: "\(path)/\(name)")
      }
    }
  }

  @Test(arguments: [8, 4096])
  func `an end of NUL bytes, as a power cut leaves one, is cut and holds no records`(_ nuls: Int) throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/a"
    do {
      let spool = try Spool(directory: path)
      _ = spool.append(Self.records(0..<20))
    }
    let file = URL(fileURLWithPath: "\(path)/00000000000000000001.spool")
    let whole = try Data(contentsOf: file)
    try (whole + Data(count: nuls)).write(to: file)
    let spool = try Spool(directory: path)
    #expect(spool.last == 20)
    #expect(try Data(contentsOf: file) == whole)
    #expect(spool.append(Self.records(20..<22)) == 2)
    let found = Self.all(spool)
    #expect(found.map(\.0) == Array(1...22))
    #expect(found.map(\.1) == (0..<22).map { "record \($0)" })
  }

  @Test func `a flipped bit ends the prefix, never changes a record`() throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    var generator = SeededGenerator(seed: seed)
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/a"
    do {
      let spool = try Spool(directory: path)
      _ = spool.append(Self.records(0..<20))
    }
    let file = "\(path)/00000000000000000001.spool"
    let whole = try Data(contentsOf: URL(fileURLWithPath: file))
    for _ in 0..<200 {
      var damaged = whole
      damaged[Int.random(in: 0..<whole.count, using: &generator)] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
      try damaged.write(to: URL(fileURLWithPath: file))
      let spool = try Spool(directory: path)
      let found = Self.all(spool)
      #expect(found.count < 20, "seed \(seed)")
      #expect(found.map(\.1) == (0..<found.count).map { "record \($0)" }, "seed \(seed)")
    }
  }

  @Test func `numbers jump after the machine was started anew`() throws {
    let folder = try TemporaryFolder()
    do {
      let spool = try Spool(directory: folder.path, bootID: "one")
      _ = spool.append(Self.records(0..<5))
    }
    let spool = try Spool(directory: folder.path, bootID: "two")
    _ = spool.append(Self.records(5..<6))
    #expect(Self.all(spool).map(\.0) == [1, 2, 3, 4, 5, 6 + Spool.bootGap])
  }

  @Test func `the jump stays when nothing was written before the next start`() throws {
    let folder = try TemporaryFolder()
    do {
      let spool = try Spool(directory: folder.path, bootID: "one")
      _ = spool.append(Self.records(0..<5))
    }
    for _ in 0..<3 { #expect(try Spool(directory: folder.path, bootID: "two").last == 5 + Spool.bootGap) }
    #expect(try Spool(directory: folder.path, bootID: "three").last == 5 + 2 * Spool.bootGap)
    // A folder of before has no number beside the boot.
    try Data("three".utf8).write(to: URL(fileURLWithPath: "\(folder.path)/boot"))
    let spool = try Spool(directory: folder.path, bootID: "three")
    _ = spool.append(Self.records(5..<6))
    #expect(Self.all(spool).map(\.0) == Array(1...6))
  }

  @Test func `a log service that knows higher numbers is never given them again`() throws {
    let folder = try TemporaryFolder()
    let spool = try Spool(directory: folder.path)
    _ = spool.append(Self.records(0..<3))
    spool.acknowledge(500)
    _ = spool.append(Self.records(3..<4))
    #expect(Self.all(spool, after: 500).map(\.0) == [501])
    spool.acknowledge(.max)
    #expect(spool.acknowledged == 500)
  }

  @Test func `a second process cannot have the same spool`() throws {
    let folder = try TemporaryFolder()
    let spool = try Spool(directory: folder.path)
    #expect(throws: WorkerError.self) { try Spool(directory: folder.path) }
    #expect(spool.last == 0)
  }

  @Test func `a segment damaged while in use is set aside and the next is read`() throws {
    let folder = try TemporaryFolder()
    let spool = try Spool(directory: folder.path, limits: SpoolLimits(bytes: 1 << 20, segmentBytes: 4096))
    for index in 0..<20 { _ = spool.append([Array(repeating: UInt8(index), count: 500)]) }
    let first = try #require(spool.segments.first)
    truncate(first.path, 100)
    var reader = SpoolReader()
    var damaged: [String] = []
    let batch = try reader.batch(after: 0, in: spool, bytes: 1 << 20, damaged: { damaged.append($0) })
    #expect(damaged == [first.path])
    #expect(batch?.first == first.end)
    #expect(FileManager.default.fileExists(atPath: "\(first.path).damaged"))
  }

  @Test func `a segment that cannot be read now stays where it is, in use and when the spool opens`() throws {
    let folder = try TemporaryFolder()
    let aside = "\(folder.path)/aside"
    var spool: Spool? = try Spool(directory: "\(folder.path)/spool")
    _ = spool?.append(Self.records(0..<10))
    let path = try #require(spool?.segments.first?.path)
    #expect(rename(path, aside) == 0)
    // A link to itself cannot be opened, a folder cannot be read.
    for makeOther in [{ symlink(path, path) }, { mkdir(path, 0o700) }] {
      #expect(makeOther() == 0)
      var reader = SpoolReader()
      let open = try #require(spool)
      #expect(throws: WorkerError.self) {
        try reader.batch(after: 0, in: open, bytes: 4096, damaged: { Issue.record("damaged \($0)") })
      }
      #expect(open.segments.count == 1)
      #expect(remove(path) == 0)
    }
    spool = nil
    #expect(symlink(path, path) == 0)
    #expect(throws: WorkerError.self) { try Spool(directory: "\(folder.path)/spool") }
    #expect(remove(path) == 0 && rename(aside, path) == 0)
    #expect(Self.all(try Spool(directory: "\(folder.path)/spool")).map(\.0) == Array(1...10))
  }
}
