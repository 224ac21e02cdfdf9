import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import LogIndex
import Logging
import Synchronization
import Testing

@testable import LogService

/// What the soaks of gateway and calls ask of the logs: every run and every failed call is found, however much came.
@Suite struct LedgerTests {
  private static let functions = ["soak-a", "soak-b", "soak-c"]
  private let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  /// Calls; `APUS_LEDGER_CALLS` for more.
  private static var calls: Int {
    ProcessInfo.processInfo.environment["APUS_LEDGER_CALLS"].flatMap(Int.init) ?? 6_000
  }

  private func open(_ folder: TemporaryFolder, rows: Int) throws -> LogService {
    var options = LogServiceOptions()
    options.index.blockRows = rows
    options.index.sealIdleRows = 1
    options.index.sealSoon = .zero
    options.index.notice = { Issue.record("nothing is damaged here: \($0)") }
    options.retention = LogRetention(maxAge: nil)
    return try LogService.open(directory: folder.path, options: options, logger: quiet)
  }

  @Test(arguments: [65_536, 1_500])
  func `each run of a ledger and each failed call is found, through blocks, merges and a restart`(
    _ rows: Int
  ) async throws {
    let seed: UInt64 = 9_001
    let folder = try TemporaryFolder("apus-ledger")
    var records = LedgerRecords(seed: seed)
    var sequences: [String: UInt64] = [:]
    var sent = 0
    var service = try open(folder, rows: rows)
    var random = SeededGenerator(seed: seed)
    var round = 0
    var batches: [LedgerRecords.Batch] = []
    while records.calls < Self.calls {
      round += 1
      batches = records.step(calls: Int.random(in: 1...900, using: &random))
      if records.calls >= Self.calls { batches += records.rest() }
      for batch in batches {
        let first = sequences[batch.source, default: 0] + 1
        sequences[batch.source] = first - 1 + UInt64(batch.lines.count)
        sent += batch.lines.count
        let acked = try await service.append(source: batch.source, firstSequence: first, lines: batch.lines)
        #expect(acked == sequences[batch.source])
        // An answer that was lost: the same batch again.
        if Int.random(in: 0..<10, using: &random) == 0 {
          _ = try await service.append(source: batch.source, firstSequence: first, lines: batch.lines)
        }
      }
      if round % 7 == 0 { await service.retain(now: .now()) }
      if records.calls * 2 >= Self.calls, round % 2 == 0, round < 1_000_000 {
        // Once, in the middle.
        round = 1_000_001
        await service.store.close()
        service = try open(folder, rows: rows)
      }
    }
    try await judge(service, records, sent)
    await service.retain(now: .now())
    try await judge(service, records, sent)
    await service.store.close()
    service = try open(folder, rows: rows)
    try await judge(service, records, sent)
    await service.store.close()
  }

  /// Asks as the soaks ask, and compares with what was made.
  private func judge(_ service: LogService, _ records: LedgerRecords, _ sent: Int) async throws {
    let figures = try await service.figures()
    #expect(figures.records == sent && figures.rejected == 0 && figures.skipped == 0)
    var ran: [String: String] = [:]
    for function in Self.functions {
      let query = LogRequest(namespaces: nil, query: "function:\(function) AND stream:stdout", limit: 100_000)
      for record in try await answer(service, query) {
        for nonce in record.msg.split(separator: " ") {
          #expect(ran.updateValue(record.pod, forKey: String(nonce)) == nil, "\(nonce) is there twice")
        }
      }
    }
    #expect(ran.count == records.ran.count, "\(ran.count) of \(records.ran.count) runs were found")
    #expect(ran == records.ran)
    let text = """
      stream:access AND (\(Self.functions.map { "function:\($0)" }.joined(separator: " OR "))) AND \
      (NOT status:200 OR error:* OR client_gone:true)
      """
    let found = try await answer(service, LogRequest(namespaces: nil, query: text, limit: 100_000))
    let nonces = found.compactMap { record -> String? in
      guard case .string(let path) = record.fields["path"] else { return nil }
      return path.split(separator: "/").last.map(String.init)
    }
    #expect(nonces.count == records.failed.count && Set(nonces) == records.failed)
  }

  private func answer(_ service: LogService, _ request: LogRequest) async throws -> [LogRecord] {
    var found: [LogRecord] = []
    for try await line in try await service.query(request) {
      found.append(try JSONDecoder().decode(LogRecord.self, from: Data(line)))
    }
    return found
  }
}
