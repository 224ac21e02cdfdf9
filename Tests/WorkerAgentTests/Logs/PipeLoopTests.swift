import ClusterTestSupport
import Foundation
import Synchronization
import Testing

@testable import WorkerAgent

@Suite("Pipe loop")
struct PipeLoopTests {
  /// What one pipe gave.
  final class Heard: Sendable {
    private let state = Mutex((bytes: 0, ends: 0))

    var bytes: Int { state.withLock { $0.bytes } }
    var ends: Int { state.withLock { $0.ends } }
    var handler: PipeLoop.Handler {
      PipeLoop.Handler(
        bytes: { bytes in self.state.withLock { $0.bytes += bytes.count } },
        end: { self.state.withLock { $0.ends += 1 } })
    }
  }

  @Test func `the last bytes and the end of a thousand pipes that close at once are each heard once`() async throws {
    let loop = try PipeLoop(name: "test.pipes")
    defer { loop.stop() }
    for round in 0..<10 {
      let heard = (0..<100).map { _ in Heard() }
      // Each writer ends as a pod does: its last bytes and its end come together, from another thread.
      try await withThrowingTaskGroup(of: Void.self) { group in
        for one in heard {
          let pipe = try Descriptors.pipe()
          loop.add(pipe.read, one.handler)
          group.addTask {
            let bytes = [UInt8](repeating: 10, count: 1000 + round)
            #expect(write(pipe.write, bytes, bytes.count) == bytes.count)
            close(pipe.write)
          }
        }
        try await group.waitForAll()
      }
      #expect(await eventually { heard.allSatisfy { $0.ends == 1 } })
      #expect(heard.allSatisfy { $0.bytes == 1000 + round && $0.ends == 1 })
    }
  }

  @Test func `a pipe that is removed is closed and ends once, and another writer goes on`() async throws {
    let loop = try PipeLoop(name: "test.pipes")
    defer { loop.stop() }
    let (gone, stays) = (Heard(), Heard())
    let (first, second) = (try Descriptors.pipe(), try Descriptors.pipe())
    defer { for fd in [first.write, second.write] { close(fd) } }
    let token = loop.add(first.read, gone.handler)
    loop.add(second.read, stays.handler)
    loop.remove(token)
    loop.remove(token)
    #expect(await eventually { gone.ends == 1 })
    #expect(write(second.write, "x", 1) == 1)
    #expect(await eventually { stays.bytes == 1 })
    #expect(gone.ends == 1 && stays.ends == 0)
  }

  @Test func `stopping ends every pipe, and one added later ends at once`() throws {
    let loop = try PipeLoop(name: "test.pipes")
    let (before, after) = (Heard(), Heard())
    let (first, second) = (try Descriptors.pipe(), try Descriptors.pipe())
    defer { for fd in [first.write, second.write] { close(fd) } }
    loop.add(first.read, before.handler)
    loop.stop()
    #expect(before.ends == 1)
    loop.add(second.read, after.handler)
    #expect(after.ends == 1)
    // Seen from the other end: the number may be another test's by now.
    var end = pollfd(fd: second.write, events: 0, revents: 0)
    #expect(poll(&end, 1, 0) == 1 && end.revents & Int16(POLLERR) != 0, "nobody can read it any more")
    loop.stop()
  }

  @Test func `what could not be told is asked for again after the time that was answered`() async throws {
    let asked = Mutex(0)
    let loop = try PipeLoop(name: "test.pipes") {
      asked.withLock { asked in
        asked += 1
        return asked < 3 ? 1 : nil
      }
    }
    defer { loop.stop() }
    let pipe = try Descriptors.pipe()
    defer { close(pipe.write) }
    loop.add(pipe.read, Heard().handler)
    #expect(asked.withLock { $0 } == 0)
    #expect(write(pipe.write, "x", 1) == 1)
    #expect(await eventually { asked.withLock { $0 } == 3 })
  }
}
