import ClusterTestSupport
import Foundation
import Logging
import Synchronization
import Testing

@testable import WorkerAgent

@Suite("Shipper")
struct ShipperTests {
  static func shipper(_ spool: Spool, _ sink: SimulatedLogs, _ folder: TemporaryFolder) -> Shipper {
    Shipper(
      spool: spool, sink: sink, source: "n1/\(spool.id)", refusedPath: "\(folder.path)/refused.ndjson",
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  @Test func `everything arrives once, in order, whatever the service does`() async throws {
    let seed = UInt64.random(in: 0...UInt64.max)
    var generator = SeededGenerator(seed: seed)
    let folder = try TemporaryFolder()
    let sink = SimulatedLogs()
    var script: [SimulatedLogs.Failure] = []
    for _ in 0..<8 { script.append([.none, .away, .answerLost, .half].randomElement(using: &generator) ?? .none) }
    sink.script(script)
    let spool = try Spool(directory: "\(folder.path)/spool", limits: SpoolLimits(bytes: 4 << 20, segmentBytes: 1 << 14))
    let task = Task { await Self.shipper(spool, sink, folder).run() }
    for start in stride(from: 0, to: 2000, by: 50) { _ = spool.append(SpoolTests.records(start..<start + 50)) }
    #expect(await eventually(within: .seconds(20)) { spool.acknowledged == 2000 }, "seed \(seed)")
    spool.finish()
    await task.value
    #expect(sink.lines == (0..<2000).map { "record \($0)" }, "seed \(seed)")
    #expect(sink.sequences == Array(1...2000))
  }

  @Test func `what was not acknowledged before a crash is sent after it, each once`() async throws {
    let folder = try TemporaryFolder()
    let sink = SimulatedLogs()
    sink.script([.answerLost])
    sink.fail(.away)
    do {
      let spool = try Spool(directory: "\(folder.path)/spool")
      let task = Task { await Self.shipper(spool, sink, folder).run() }
      _ = spool.append(SpoolTests.records(0..<100))
      #expect(await eventually { sink.calls >= 2 })
      task.cancel()
      await task.value
    }
    #expect(sink.lines.count == 100)
    sink.fail(.none)
    // The finished task may hold the first one for a moment.
    let reopened = Mutex<Spool?>(nil)
    let path = "\(folder.path)/spool"
    let isOpen = await eventually {
      reopened.withLock { spool in
        spool = try? Spool(directory: path)
        return spool != nil
      }
    }
    #expect(isOpen)
    let spool = try #require(reopened.withLock { $0 })
    #expect(spool.acknowledged == 0)
    _ = spool.append(SpoolTests.records(100..<110))
    spool.finish()
    await Self.shipper(spool, sink, folder).run()
    #expect(sink.lines == (0..<110).map { "record \($0)" })
  }

  @Test func `what cannot be read for a while is sent when it can`() async throws {
    let folder = try TemporaryFolder()
    let sink = SimulatedLogs()
    let spool = try Spool(directory: "\(folder.path)/spool")
    _ = spool.append(SpoolTests.records(0..<20))
    let path = try #require(spool.segments.first?.path)
    #expect(rename(path, "\(folder.path)/aside") == 0 && symlink(path, path) == 0)
    spool.finish()
    let task = Task { await Self.shipper(spool, sink, folder).run() }
    #expect(await !eventually(within: .milliseconds(300)) { sink.calls > 0 })
    #expect(rename("\(folder.path)/aside", path) == 0)
    await task.value
    #expect(sink.lines == (0..<20).map { "record \($0)" } && spool.acknowledged == 20)
  }

  @Test func `a record the service refuses is set aside and the others pass`() async throws {
    let folder = try TemporaryFolder()
    let sink = SimulatedLogs()
    sink.fail(.refuses(containing: "record 7"))
    let spool = try Spool(directory: "\(folder.path)/spool")
    _ = spool.append(SpoolTests.records(0..<20))
    spool.finish()
    await Self.shipper(spool, sink, folder).run()
    #expect(sink.lines == (0..<20).filter { $0 != 7 }.map { "record \($0)" })
    let refused = try String(contentsOfFile: "\(folder.path)/refused.ndjson", encoding: .utf8)
    #expect(refused == "record 7\n")
    #expect(spool.acknowledged == 20)
  }
}
