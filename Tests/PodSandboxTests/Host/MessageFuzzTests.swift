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
    func check(_ message: Message) -> CInt {
      let bytes = message.bytes
      let start = (base + (Self.room - bytes.count)).assumingMemoryBound(to: UInt8.self)
      UnsafeMutableRawPointer(start).copyMemory(from: bytes, byteCount: bytes.count)
      switch message.kind {
      case .spawn: return apus_check_spawn_message(start, bytes.count, message.descriptors)
      case .bind: return apus_check_bind_message(start, bytes.count, message.descriptors, 0)
      case .warmBind: return apus_check_bind_message(start, bytes.count, message.descriptors, 1)
      case .zygote: return apus_check_zygote_message(start, bytes.count, message.descriptors)
      }
    }
    func unmap() { munmap(base, Self.room + 4096) }
  }

  private enum Kind: CaseIterable { case spawn, bind, warmBind, zygote }

  private struct Message {
    var kind: Kind
    var bytes: [UInt8]
    var descriptors: Int
  }

  private func strings(_ random: inout SeededGenerator) -> [String] {
    (0...Int.random(in: 0..<5, using: &random)).map { "argument-\($0)" }
  }

  private func environment(_ random: inout SeededGenerator) -> [String: String] {
    var made: [String: String] = [:]
    for number in 0..<Int.random(in: 0..<5, using: &random) { made["NAME_\(number)"] = "value" }
    return made
  }

  private func valid(_ random: inout SeededGenerator) throws -> Message {
    let kind = Kind.allCases.randomElement(using: &random) ?? .spawn
    let slot = Int.random(in: 0..<SandboxSpec.slotCount, using: &random)
    switch kind {
    case .spawn:
      var spec = StemSpec(slot: slot, origin: .root("/r"))
      if Bool.random(using: &random) { spec.warmArguments = strings(&random) }
      spec.warmEnvironment = environment(&random)
      if Bool.random(using: &random) { spec.stdout = 1 }
      let cgroups = Int.random(in: 0...4, using: &random)
      let bytes = try SpawnerMessage.spawn(spec, ticket: 1, cgroups: cgroups, cgroupV2: false)
      let descriptors = SpawnerMessage.descriptors(spec, cgroups: Array(repeating: 9, count: cgroups), bind: 9, root: 9)
      return Message(kind: kind, bytes: bytes, descriptors: descriptors.count)
    case .bind, .warmBind:
      var spec = BindSpec(hostname: "h", arguments: strings(&random), environment: environment(&random))
      for number in 0..<Int.random(in: 0..<4, using: &random) {
        spec.secrets.append(SandboxSecret(path: "s\(number)/key", bytes: [1, 2, 3]))
      }
      if Bool.random(using: &random) { spec.codePath = "/c" }
      let bytes = try SpawnerMessage.bind(
        spec, ticket: 1, slot: slot, isWarm: kind == .warmBind, limitProcesses: Bool.random(using: &random))
      let descriptors = (spec.codePath == nil ? 0 : 1) + (spec.secrets.isEmpty ? 0 : 1)
      return Message(kind: kind, bytes: bytes, descriptors: descriptors)
    case .zygote:
      let bytes = try SpawnerMessage.zygote(strings(&random), environment(&random), ticket: 1)
      return Message(kind: kind, bytes: bytes, descriptors: 1)
    }
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
      var damaged = try valid(&random)
      if round % 100 == 0 { try #require(fence.check(damaged) == 0, "seed \(random.seed)") }
      damaged.bytes = mutate(damaged.bytes, &random)
      if Int.random(in: 0..<8, using: &random) == 0 { damaged.descriptors = Int.random(in: 0..<17, using: &random) }
      let result = fence.check(damaged)
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
