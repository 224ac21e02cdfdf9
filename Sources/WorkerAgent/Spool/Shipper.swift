import ClusterAPI
import Glibc
import Logging

/// Sends the spool to the log service in batches and forgets what was acknowledged.
///
/// One batch is under way at a time. A batch whose answer was lost is sent again; the service knows its numbers.
struct Shipper: Sendable {
  /// Bytes of a batch, at most.
  static let batchBytes = 1 << 20
  /// Less than this waits for more, for `NamedWait.shipperLinger`.
  static let smallBatchBytes = 64 << 10
  /// Bytes kept of records that the service refuses.
  static let refusedBytes = 16 << 20

  let spool: Spool
  let sink: any LogSink
  let source: String
  let refusedPath: String
  let logger: Logger

  /// Sends until the spool is finished and empty, or the task is cancelled.
  func run() async {
    var reader = SpoolReader()
    for await _ in spool.signal {
      do {
        try await NamedWait.shipperLinger.wait()
        try await shipAll(&reader)
      } catch { return }
    }
    // The spool was finished: what came with the last signals.
    try? await shipAll(&reader)
  }

  private func shipAll(_ reader: inout SpoolReader) async throws {
    var backoff = Backoff()
    var limit = Self.batchBytes
    while true {
      let batch: SpoolReader.Batch
      do throws(WorkerError) {
        guard let found = try next(&reader, limit) else { return }
        batch = found
      } catch {
        let wait = backoff.failed()
        logger.error("log spool cannot be read now", metadata: ["error": "\(error)", "wait.ms": "\(wait)"])
        try await NamedWait.shipperBackoff(milliseconds: wait).wait()
        continue
      }
      do {
        let durable = try await sink.append(source: source, firstSequence: batch.first, lines: batch.lines)
        if durable < batch.first { throw APIStatus.unavailable("the log service took nothing of a batch") }
        spool.acknowledge(durable)
        backoff.succeeded()
        limit = Self.batchBytes
      } catch {
        try Task.checkCancellation()
        if Self.isRefusal(error) {
          // Something in this batch is at fault: find it by halves, and let the rest pass.
          limit = batch.lines.count == 1 ? refuse(batch, error) : max(1, batch.lines.reduce(0) { $0 + $1.count } / 2)
          continue
        }
        let wait = backoff.failed()
        logger.debug("log batch not taken", metadata: ["error": "\(error)", "wait.ms": "\(wait)"])
        try await NamedWait.shipperBackoff(milliseconds: wait).wait()
      }
    }
  }

  private func next(_ reader: inout SpoolReader, _ limit: Int) throws(WorkerError) -> SpoolReader.Batch? {
    try reader.batch(after: spool.acknowledged, in: spool, bytes: limit) { path in
      logger.error("damaged spool segment set aside", metadata: ["path": "\(path).damaged"])
    }
  }

  /// Whether trying again would fail again: the request itself is at fault.
  private static func isRefusal(_ error: any Error) -> Bool {
    guard let status = error as? APIStatus else { return false }
    return status.code == 400 || status.code == 413 || status.code == 422
  }

  /// Keeps a record that the service refuses in a file of its own and goes on behind it.
  private func refuse(_ batch: SpoolReader.Batch, _ error: any Error) -> Int {
    logger.error(
      "log record refused and set aside",
      metadata: ["error": "\(error)", "path": "\(refusedPath)", "sequence": "\(batch.first)"])
    let fd = open(refusedPath, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    if fd >= 0 {
      if lseek(fd, 0, SEEK_END) < Self.refusedBytes {
        for line in batch.lines { _ = write(fd, line + [10], line.count + 1) }
      }
      close(fd)
    }
    spool.acknowledge(batch.last)
    return Self.batchBytes
  }
}
