import CLinux
import ClusterTestSupport
import Foundation
@testable import PodSandbox
import Testing

@Suite("The spawner's messages", .timeLimit(.minutes(60)))
struct MessageFuzzTests {
  /// Memory that ends at a page no one may touch: a read beyond the message ends the test.
  private struct Fence {
    static let room = 1 << 18
    let base: UnsafeMutableRawPointer
    init() throws {
      let page = 4096
      let mapped = mmap(nil, Self.room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
      base = try #require(mapped)
      try #require(base != MAP_FAILED)
      mprotect(base + Self.room, page, PROT_NONE)
    }
    func check(_ message: [UInt8], descriptors: Int) -> CInt {
      let start = base + (Self.room - message.count)
      start.copyMemory(from: message, byteCount: message.count)
      return apus_check_spawn_message(start.assumingMemoryBound(to: UInt8.self), message.count, descriptors)
    }
    func unmap() { munmap(base, Self.room + 4096) }
  }

  private func valid(_ random: inout SeededGenerator) throws -> ([UInt8], Int) {
    let slot = Int.random(in: 0..<60_000, using: &random)
    var spec = SandboxSpec(slot: slot, hostname: "h", rootPath: "/r", arguments: [])
    spec.arguments = (0...Int.random(in: 0..<5, using: &random)).map { "argument-\($0)" }
    for number in 0..<Int.random(in: 0..<5, using: &random) { spec.environment["NAME_\(number)"] = "value" }
    for number in 0..<Int.random(in: 0..<4, using: &random) {
      spec.secrets.append(SandboxSecret(path: "s\(number)/key", bytes: [1, 2, 3]))
    }
    if Bool.random(using: &random) { spec.stdout = 1 }
    if Bool.random(using: &random) { spec.codePath = "/c" }
    let cgroups = Int.random(in: 0...4, using: &random)
    let message = try SpawnerMessage.spawn(spec, ticket: 1, cgroups: cgroups, cgroupV2: false, limitProcesses: false)
    let descriptors = SpawnerMessage.descriptors(
      spec, cgroups: Array(repeating: 9, count: cgroups), root: 9, code: spec.codePath == nil ? -1 : 9,
      secrets: spec.secrets.isEmpty ? -1 : 9)
    return (message, descriptors.count)
  }

  private func mutate(_ message: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
    var bytes = message
    for _ in 0...Int.random(in: 0..<4, using: &random) {
      guard !bytes.isEmpty else { break }
      let at = Int.random(in: 0..<bytes.count, using: &random)
      switch Int.random(in: 0..<7, using: &random) {
      case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
      case 1: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 2: bytes.removeSubrange(at..<min(bytes.count, at + Int.random(in: 1..<64, using: &random)))
      case 3: bytes.insert(contentsOf: Array(repeating: UInt8.random(in: 0...255, using: &random), count: 17), at: at)
      case 4: bytes.removeLast(min(bytes.count, Int.random(in: 1..<32, using: &random)))
      case 5:
        let extreme: UInt8 = [0, 0xff, 0x7f, 0x80].randomElement(using: &random) ?? 0
        for index in at..<min(bytes.count, at + 4) { bytes[index] = extreme }
      default: bytes = bytes.map { $0 == 0 && Int.random(in: 0..<8, using: &random) == 0 ? 1 : $0 }
      }
    }
    // Half the time the length is made right again, so that the checks behind it are reached.
    if Bool.random(using: &random), bytes.count >= 12 {
      withUnsafeBytes(of: UInt32(bytes.count)) { bytes.replaceSubrange(8..<12, with: $0) }
    }
    return bytes
  }

  @Test func `a hundred thousand damaged messages are refused or sound`() throws {
    var random = SeededGenerator(seed: Soak.seed("spawner messages"))
    let fence = try Fence()
    defer { fence.unmap() }
    var refusals: [CInt: Int] = [:]
    for round in 0..<Soak.rounds(100_000) {
      let (message, descriptors) = try valid(&random)
      if round % 100 == 0 { try #require(fence.check(message, descriptors: descriptors) == 0, "seed \(random.seed)") }
      let damaged = mutate(message, &random)
      let count = Int.random(in: 0..<8, using: &random) == 0 ? Int.random(in: 0..<17, using: &random) : descriptors
      let result = fence.check(damaged, descriptors: count)
      try #require(result <= 0, "the decoder broke a promise; seed \(random.seed), round \(round): \(damaged)")
      refusals[result, default: 0] += 1
    }
    // Every kind of refusal was met, and some damage is harmless.
    #expect(Set(refusals.keys) == Set((-10)...0), "seed \(random.seed): \(refusals)")
    #expect(refusals[0, default: 0] * 10 < refusals.values.reduce(0, +) * 6)
  }

  @Test func `a spawner that hears nonsense answers and goes on`() async throws {
    let executable = TestPaths.spawner
    let outcome: String = await withCheckedContinuation { continuation in
      Thread.detachNewThread {
        continuation.resume(returning: Self.talkNonsense(executable))
      }
    }
    #expect(outcome == "answered 500, ended 0")
  }

  private static func talkNonsense(_ executable: String) -> String {
    var random = SeededGenerator(seed: 42)
    var pair: [CInt] = [-1, -1]
    var pidfd: CInt = -1
    var descriptor: CInt = -1
    var reply = apus_reply()
    guard apus_packet_pair(&pair) == 0, apus_launch_spawner(executable, pair[1], &pidfd) > 0 else {
      return "no spawner"
    }
    close(pair[1])
    _ = apus_receive(pair[0], &reply, MemoryLayout<apus_reply>.size, &descriptor)
    var answered = 0
    for round in 0..<500 {
      let bytes = (0..<Int.random(in: 1..<4000, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      let descriptors = Array(repeating: CInt(1), count: round % 17)
      guard apus_send(pair[0], bytes, bytes.count, descriptors, descriptors.count) > 0 else { break }
      let length = apus_receive(pair[0], &reply, MemoryLayout<apus_reply>.size, &descriptor)
      let refused = UInt32(reply.head.type) == APUS_FAILED.rawValue && reply.step == APUS_STEP_MESSAGE.rawValue
      if length > 0, refused { answered += 1 }
    }
    close(pair[0])
    let ended = apus_pidfd_wait(pidfd)
    close(pidfd)
    return "answered \(answered), ended \(ended)"
  }
}
