import ClusterTestSupport
import Testing

@testable import PodSandbox
@testable import WorkerAgent

@Suite("Ends of pods")
struct PodEndsTests {
  private final class FakeSpawner: Sendable {}

  private static func exit(_ ticket: UInt64, code: Int32 = 3) -> SandboxExit {
    SandboxExit(
      ticket: ticket, slot: 1, waitStatus: code << 8, outOfMemoryKills: 0, cpuMicroseconds: 0, peakMemoryBytes: 0,
      memoryLimit: 0)
  }

  @Test func `an end is told to who waits for it, and kept for who will`() async {
    let (ends, spawner) = (PodEnds(), FakeSpawner())
    let (exits, sink) = AsyncStream<SandboxExit>.makeStream()
    ends.begin(spawner)
    async let collecting: Void = ends.collect(exits, of: spawner)
    let first = ends.follow(1, of: spawner)
    sink.yield(Self.exit(1))
    #expect(await first.value.code == 3)
    sink.yield(Self.exit(2, code: 4))
    sink.yield(Self.exit(3))
    #expect(await ends.follow(3, of: spawner).value.code == 3)
    #expect(await ends.follow(2, of: spawner).value.code == 4)
    sink.finish()
    await collecting
  }

  @Test func `nobody waits for a pod of a spawner that is gone, before its death or after`() async {
    let (ends, spawner) = (PodEnds(), FakeSpawner())
    let (exits, sink) = AsyncStream<SandboxExit>.makeStream()
    ends.begin(spawner)
    let before = ends.follow(1, of: spawner)
    sink.finish()
    await ends.collect(exits, of: spawner)
    #expect(await before.value.cause?.contains("spawner is gone") == true)
    // Its start was answered, and came here after the end of all.
    #expect(await ends.follow(2, of: spawner).value.cause?.contains("spawner is gone") == true)
  }
}
