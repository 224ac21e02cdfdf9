import ClusterTestSupport
import Foundation
import Testing

@testable import FunctionPackage

/// Mutated archives: the reader may refuse or accept, but never trap, and what it accepts is safe.
@Suite struct `A hundred thousand mutated archives` {
  static let tar = TarBytes.make { tar in
    tar.header("src/", type: "5", mode: 0o755)
    tar.header("src/link", type: "2", link: "../src/a.py")
    tar.file("src/a.py", "print('a')\n", mode: 0o755)
    tar.pax(TarBytes.record("path", "src/" + String(repeating: "l", count: 120)) + TarBytes.record("size", "3"))
    tar.header("cut", size: 3)
    tar.contents([1, 2, 3])
  }

  @Test(arguments: [0, 1])
  func `are refused or read, and nothing unsafe passes`(half: Int) async throws {
    let seed = Soak.seed("archives")
    try await Self.run(seed: seed &+ UInt64(half), tars: Soak.rounds(40_000), gzips: Soak.rounds(10_000))
  }

  @concurrent
  static func run(seed: UInt64, tars: Int, gzips: Int) async throws {
    var random = SeededGenerator(seed: seed)
    var limits = ArchiveLimits()
    (limits.files, limits.bytes) = (50, 100_000)
    var accepted = 0
    for round in 0..<tars {
      let mutated = mutate(tar, &random, repairing: true)
      if let sink = try? readTar(mutated, pieces: 1_500, limits: limits) {
        accepted += 1
        #expect(isSafe(sink, limits), "seed \(seed), round \(round)")
      }
    }
    #expect(accepted > tars / 100 && accepted < tars, "seed \(seed): the mutations reach both outcomes")
    let packed = try gzip(tar)
    for round in 0..<gzips {
      let mutated = mutate(packed, &random, repairing: false)
      var reader = try ArchiveReader(limits: limits)
      var sink = MemorySink()
      if (try? reader.feed(mutated, to: &sink)) != nil, (try? reader.finish()) != nil {
        #expect(isSafe(sink, limits), "seed \(seed), gzip round \(round)")
      }
    }
  }

  /// Flips, overwrites, cuts, doubles and moves pieces; `repairing` mends the checksums of most headers afterwards, so
  /// that the mutation is looked at instead of the checksum.
  static func mutate(_ original: [UInt8], _ random: inout SeededGenerator, repairing: Bool) -> [UInt8] {
    var bytes = original
    for _ in 0..<Int.random(in: 1...3, using: &random) {
      guard bytes.count > 2 else { break }
      let at = Int.random(in: 0..<bytes.count, using: &random)
      let block = at / 512 * 512
      switch Int.random(in: 0..<9, using: &random) {
      case 0: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 1: bytes[at] = .random(in: 0...255, using: &random)
      case 2: bytes.removeSubrange(at..<min(bytes.count, at + Int.random(in: 1...600, using: &random)))
      case 3: bytes.insert(contentsOf: bytes[block..<min(bytes.count, block + 512)], at: block)
      case 4 where block + 157 < bytes.count:
        bytes[block + 156] = Array("0123456xgLK5S\u{0}".utf8).randomElement(using: &random) ?? 0
      case 5:
        for index in block..<min(bytes.count, block + 8) { bytes[index] = Array("../a/\u{0}\n ".utf8)[index - block] }
      case 7 where block + 512 <= bytes.count:
        // A name from elsewhere, or one below it.
        let other = Int.random(in: 0..<bytes.count / 512, using: &random) * 512
        var name = Array(bytes[other..<other + 98].prefix { $0 != 0 })
        if Bool.random(using: &random) { name += Array("/x".utf8) }
        bytes.replaceSubrange(block..<block + 100, with: name + [UInt8](repeating: 0, count: 100 - name.count))
      case 6 where block + 136 < bytes.count:
        for index in block + 124..<block + 135 { bytes[index] = .random(in: 0x30...0x37, using: &random) }
      default: bytes[at] = [0, 0xff, 0x2f, 0x2e, 0x0a, 0x30, 0x80].randomElement(using: &random) ?? 0
      }
    }
    if repairing, Int.random(in: 0..<10, using: &random) > 0 { repair(&bytes) }
    return bytes
  }

  static func repair(_ bytes: inout [UInt8]) {
    for block in stride(from: 0, to: bytes.count - 511, by: 512) {
      // A header is where "ustar" stands.
      guard bytes[block + 257] == 0x75, bytes[block + 258] == 0x73 else { continue }
      let sum = TarHeader.sum(Array(bytes[block..<block + 512]))
      let digits = Array(String(sum, radix: 8).utf8)
      let field = [UInt8](repeating: 0x30, count: 6 - digits.count) + digits + [0, 0x20]
      bytes.replaceSubrange(block + 148..<block + 156, with: field)
    }
  }

  /// Judges what came through by rules of its own.
  static func isSafe(_ sink: MemorySink, _ limits: ArchiveLimits) -> Bool {
    var seen: Set<[UInt8]> = []
    var links: Set<String> = []
    for entry in sink.entries {
      let parts = entry.path.text.split(separator: "/", omittingEmptySubsequences: false)
      guard !parts.isEmpty, parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." }) else { return false }
      guard entry.path.bytes.allSatisfy({ $0 >= 0x20 }), seen.insert(entry.path.bytes).inserted else { return false }
      for count in 1..<max(2, parts.count) where parts.count > 1 {
        if links.contains(parts.prefix(count).joined(separator: "/")) { return false }
      }
      switch entry.kind {
      case .link(let target):
        links.insert(entry.path.text)
        var depth = parts.count - 1
        if target.hasPrefix("/") { return false }
        for part in target.split(separator: "/") where part != "." {
          depth += part == ".." ? -1 : 1
          if depth < 0 { return false }
        }
      case .file(let size, _): if sink.contents[entry.path]?.count != Int(size) { return false }
      case .folder: break
      }
    }
    return sink.entries.count <= limits.files && sink.contents.values.reduce(0) { $0 + $1.count } <= limits.bytes
  }
}
