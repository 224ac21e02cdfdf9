package import ClusterAPI
internal import ClusterModel
internal import Foundation
package import LogIndex
package import Logging
internal import ServiceLifecycle
internal import Synchronization

/// The cluster's logs in this process: takes records, answers queries and live tails, and keeps the store within its
/// retention while it runs.
package final class LogService: LogSink, LogQueries, Service {
  let store: LogStore
  let options: LogServiceOptions
  let logger: Logger
  let permits: QueryPermits
  let counters = LogCounters()

  private init(store: LogStore, options: LogServiceOptions, logger: Logger) {
    self.store = store
    self.options = options
    self.logger = logger
    self.permits = QueryPermits(maximum: options.queriesMaximum)
  }

  /// Opens the logs in a folder, which is made if need be. What is damaged is set aside and reported in the
  /// log, the rest is kept; throws when the folder cannot be used.
  package static func open(
    directory: String, options: LogServiceOptions = LogServiceOptions(), logger: Logger
  ) throws -> LogService {
    var options = options
    let notice = options.index.notice
    options.index.notice = { text in
      logger.error("log files set aside or taken over", metadata: ["reason": "\(text)"])
      notice(text)
    }
    let store = try LogStore.open(directory: URL(fileURLWithPath: directory), options: options.index)
    return LogService(store: store, options: options, logger: logger)
  }

  /// Appends NDJSON lines numbered from `firstSequence`; answers the highest sequence of this source that is durable.
  /// Throws 507 while the disk is nearly full, 429 while too much waits to be written, 503 after the end.
  package func append(
    source: String, firstSequence: UInt64, lines: [[UInt8]]
  ) async throws(APIStatus) -> UInt64 {
    try await append(source: source, firstSequence: firstSequence, lines: RecordLines(lines))
  }

  /// The same of lines in one piece.
  package func append(
    source: String, firstSequence: UInt64, lines: ClusterAPI.LogLines
  ) async throws(APIStatus) -> UInt64 {
    try await append(source: source, firstSequence: firstSequence, lines: RecordLines(ndjson: lines.bytes))
  }

  private func append(source: String, firstSequence: UInt64, lines: RecordLines) async throws(APIStatus) -> UInt64 {
    // What comes through an adapter is counted there.
    let entrance: LogCounters.Entrance? =
      source.hasPrefix("edge/") ? nil : source.hasPrefix("gateway/") ? .gateway : .worker
    do throws(LogIndexError) {
      let acked = try await store.append(worker: source, firstSequence: firstSequence, lines: lines)
      if entrance == .worker { counters.read(lines, firstSequence: firstSequence, of: source) }
      if let entrance { counters.took(lines.count, bytes: lines.bytesCount, from: entrance) }
      return acked
    } catch {
      if let entrance { counters.refused(lines.count, from: entrance) }
      throw APIStatus(error)
    }
  }

  /// What the store holds and has seen.
  package func figures() async throws -> LogFigures { try await store.figures() }

  /// The service's figures as Prometheus text; empty when the store cannot say.
  package func metricsText() async -> String {
    guard let figures = try? await figures() else { return "" }
    return LogMetrics.text(figures, parts: store.parts(), sums: counters.sums, running: permits.taken)
  }

  /// Keeps the store within its retention until the task is cancelled or a graceful shutdown, then writes what waits
  /// and closes it. As a service it belongs before all that logs, so that it ends after them.
  package func run() async throws {
    await cancelWhenGracefulShutdown {
      while !Task.isCancelled {
        await self.retain(now: .now())
        do { try await Task.sleep(for: self.options.retentionInterval) } catch { break }
      }
    }
    await store.close()
  }

  /// One round of retention; a failure is logged, the next round tries again.
  func retain(now: Timestamp) async {
    do {
      let report = try await store.retain(policy: options.retention, now: now.nanoseconds)
      guard report.deletedByAge + report.deletedByBytes > 0 else { return }
      logger.debug(
        "old log records deleted",
        metadata: [
          "by.age": "\(report.deletedByAge)", "by.bytes": "\(report.deletedByBytes)",
          "freed.bytes": "\(report.freedBytes)",
        ])
    } catch is CancellationError {
      return
    } catch {
      logger.warning("log retention failed", metadata: ["error": "\(error)"])
    }
  }
}

extension APIStatus {
  /// What a sender is told when records were not taken.
  init(_ error: LogIndexError) {
    switch error {
    case .storageFull: self = .storageFull(error.description)
    case .busy: self = .tooManyRequests(error.description, retryAfterSeconds: 1)
    case .closed: self = .unavailable(error.description)
    case .storage: self = .internalError(error.description)
    }
  }

  /// What a reader is told about a text that is no query; `parameter` is the request's name of the text.
  init(_ error: LogQueryError, parameter: String) {
    self = .badRequest("\(parameter), \(error)")
  }
}
