import ClusterAPI
import DequeModule
import Logging
import NIOCore
import Synchronization

/// Holds access records until the log service acknowledged them; never holds up a call.
///
/// Records are numbered when they are sent, so that those dropped leave no gap the log service would wait for.
final class AccessLog: Sendable {
  /// Whole lines, each with its newline: what is sent at once.
  private struct Batch {
    var lines = ByteBuffer()
    var count = 0

    var isFull: Bool { count >= GatewayLimits.logBatch || lines.readableBytes >= GatewayLimits.logBatchBytes }
  }

  private struct Held {
    /// Never empty lists of lines; only the last takes more.
    var batches: Deque<Batch> = []
    var count = 0
    var bytes = 0
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
  var waiting: Int { held.withLock { $0.count } }

  /// Adds a record; when the buffer is full it is dropped and counted.
  func add(_ record: CallRecord, clock: inout TimeText) {
    let first = held.withLock { held in
      guard held.count < limit, held.bytes < GatewayLimits.logBytes else {
        held.dropped += 1
        return false
      }
      if held.batches.last.map(\.isFull) ?? true { held.batches.append(Batch()) }
      let last = held.batches.count - 1
      let before = held.batches[last].lines.readableBytes
      record.write(into: &held.batches[last].lines, clock: &clock)
      held.bytes += held.batches[last].lines.readableBytes - before
      held.batches[last].count += 1
      held.count += 1
      return held.count == 1
    }
    if first { wake.yield() }
  }

  /// Sends records as they come until cancelled, then makes one last attempt.
  func run(sink: any LogSink, logger: Logger) async {
    var sequence: UInt64 = 1
    var batch = LogLines()
    var pause = GatewayLimits.logInterval
    // A cancelled task's stream ends at once; what is left then is sent below.
    var wakes = signal.makeAsyncIterator()
    while !Task.isCancelled {
      if batch.count == 0 {
        batch = take()
        if batch.count == 0 {
          guard await wakes.next() != nil else { break }
          continue
        }
      }
      if await send(batch, sequence, sink, logger) {
        sequence += UInt64(batch.count)
        let more = batch.count == GatewayLimits.logBatch || batch.bytes.count >= GatewayLimits.logBatchBytes
        batch = LogLines()
        pause = GatewayLimits.logInterval
        // A full batch has the next one behind it; otherwise records gather.
        if more { continue }
      } else {
        pause = min(pause * 2, GatewayLimits.logBackoffMaximum)
      }
      do { try await Task.sleep(for: .milliseconds(pause)) } catch { break }
    }
    await drain(batch, sequence, sink, logger)
  }

  /// The last attempt, in a task of its own because the caller's is cancelled.
  private func drain(_ batch: LogLines, _ sequence: UInt64, _ sink: any LogSink, _ logger: Logger) async {
    let last = Task { [self] in
      var batch = batch
      var sequence = sequence
      while true {
        if batch.count == 0 { batch = take() }
        guard batch.count > 0, await send(batch, sequence, sink, logger) else { return }
        sequence += UInt64(batch.count)
        batch = LogLines()
      }
    }
    await last.value
  }

  private func take() -> LogLines {
    let batch = held.withLock { held in
      let batch = held.batches.popFirst() ?? Batch()
      held.count -= batch.count
      held.bytes -= batch.lines.readableBytes
      return batch
    }
    return LogLines(bytes: Array(batch.lines.readableBytesView), count: batch.count)
  }

  private func send(_ lines: LogLines, _ first: UInt64, _ sink: any LogSink, _ logger: Logger) async -> Bool {
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
