import ClusterAPI
import Logging
import Synchronization

/// Holds access records until the log service acknowledged them; never holds up a call.
///
/// Records are numbered when they are sent, so that those dropped leave no gap the log service would wait for.
final class AccessLog: Sendable {
  private struct Held {
    var records: [CallRecord] = []
    var dropped = 0
  }

  private let held = Mutex(Held())
  private let signal: AsyncStream<Void>
  private let wake: AsyncStream<Void>.Continuation
  private let source: String
  private let limit: Int

  /// A log whose records are numbered from 1 under a source that is new with every start.
  init(source: String, limit: Int = GatewayLimits.logRecords) {
    self.source = source
    self.limit = limit
    (signal, wake) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
  }

  /// Records dropped so far because the log service took none.
  var dropped: Int { held.withLock { $0.dropped } }

  /// Records that wait.
  var waiting: Int { held.withLock { $0.records.count } }

  /// Adds a record; when the buffer is full it is dropped and counted.
  func add(_ record: CallRecord) {
    let first = held.withLock { held in
      guard held.records.count < limit else {
        held.dropped += 1
        return false
      }
      held.records.append(record)
      return held.records.count == 1
    }
    if first { wake.yield() }
  }

  /// Sends records as they come until cancelled, then makes one last attempt.
  func run(sink: any LogSink, logger: Logger) async {
    var sequence: UInt64 = 1
    var batch: [[UInt8]] = []
    var pause = GatewayLimits.logInterval
    // A cancelled task's stream ends at once; what is left then is sent below.
    var wakes = signal.makeAsyncIterator()
    while !Task.isCancelled {
      if batch.isEmpty {
        batch = take()
        if batch.isEmpty {
          guard await wakes.next() != nil else { break }
          continue
        }
      }
      if await send(batch, sequence, sink, logger) {
        sequence += UInt64(batch.count)
        batch = []
        pause = GatewayLimits.logInterval
      } else {
        pause = min(pause * 2, 2000)
      }
      do { try await Task.sleep(for: .milliseconds(pause)) } catch { break }
    }
    await drain(batch, sequence, sink, logger)
  }

  /// The last attempt, in a task of its own because the caller's is cancelled.
  private func drain(_ batch: [[UInt8]], _ sequence: UInt64, _ sink: any LogSink, _ logger: Logger) async {
    let last = Task { [self] in
      var batch = batch
      var sequence = sequence
      while true {
        if batch.isEmpty { batch = take() }
        guard !batch.isEmpty, await send(batch, sequence, sink, logger) else { return }
        sequence += UInt64(batch.count)
        batch = []
      }
    }
    await last.value
  }

  private func take() -> [[UInt8]] {
    let records = held.withLock { held in
      let count = min(GatewayLimits.logBatch, held.records.count)
      let records = Array(held.records.prefix(count))
      held.records.removeFirst(count)
      return records
    }
    return records.map { $0.logLine() }
  }

  private func send(_ lines: [[UInt8]], _ first: UInt64, _ sink: any LogSink, _ logger: Logger) async -> Bool {
    do {
      // An acknowledgement below the last line would mean a part is not durable: all of it is sent again.
      return try await sink.append(source: source, firstSequence: first, lines: lines) >= first + UInt64(lines.count)
        - 1
    } catch {
      logger.warning("log service refused access records", metadata: ["error": "\(error)"])
      return false
    }
  }
}
