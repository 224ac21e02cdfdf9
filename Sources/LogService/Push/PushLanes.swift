internal import ClusterAPI
internal import Synchronization

/// Puts the records of senders that number nothing into the log, durable when it answers.
///
/// The log takes numbered lines of sources, one batch of a source after another. A lane is such a source; a push has one
/// to itself while it is written, so that pushes share the log's commits instead of waiting for each other.
final class PushLanes: Sendable {
  /// Pushes that are written at once.
  static let count = 16
  /// Pushes that may wait for a lane; one more is answered 429.
  static let waitingMaximum = 256
  /// Records of one append.
  static let batchRecords = 8192
  /// Bytes of one append, unless one record is longer.
  static let batchBytes = 8 << 20

  private struct Lane {
    let source: String
    /// The number of the next record; nil before it is known.
    var next: UInt64?
  }

  private struct State {
    var free: [Lane]
    var waiting: [CheckedContinuation<Lane, Never>] = []
  }

  private enum Turn {
    case now(Lane)
    case waits
    case full
  }

  /// What became of a push.
  struct Outcome {
    /// Records of its beginning that are durable.
    var stored: Int
    /// Why the others are not.
    var failure: APIStatus?
  }

  private let sink: any LogSink
  private let state: Mutex<State>

  /// Lanes of a log.
  init(sink: any LogSink) {
    self.sink = sink
    state = Mutex(State(free: (0..<Self.count).reversed().map { Lane(source: "edge/\($0)") }))
  }

  /// Appends record lines in their order.
  func append(_ lines: [[UInt8]]) async -> Outcome {
    guard !lines.isEmpty else { return Outcome(stored: 0) }
    guard var lane = await take() else {
      return Outcome(
        stored: 0, failure: .tooManyRequests("\(Self.waitingMaximum) pushes wait already", retryAfterSeconds: 1))
    }
    var outcome = Outcome(stored: 0)
    do throws(APIStatus) {
      for batch in Self.batches(lines) {
        let first: UInt64
        if let next = lane.next {
          first = next
        } else {
          first = try await sink.append(source: lane.source, firstSequence: 1, lines: []) + 1
        }
        lane.next = try await sink.append(source: lane.source, firstSequence: first, lines: batch) + 1
        outcome.stored += batch.count
      }
    } catch {
      // Whether the numbers were used is not known: the log is asked before the next ones.
      lane.next = nil
      outcome.failure = error
    }
    giveBack(lane)
    return outcome
  }

  /// Lines in pieces that one append takes.
  static func batches(_ lines: [[UInt8]]) -> [[[UInt8]]] {
    var batches: [[[UInt8]]] = []
    var batch: [[UInt8]] = []
    var bytes = 0
    for line in lines {
      if !batch.isEmpty, batch.count >= batchRecords || bytes + line.count > batchBytes {
        batches.append(batch)
        batch = []
        bytes = 0
      }
      batch.append(line)
      bytes += line.count
    }
    if !batch.isEmpty { batches.append(batch) }
    return batches
  }

  private func take() async -> Lane? {
    let turn = state.withLock { state -> Turn in
      if let lane = state.free.popLast() { return .now(lane) }
      return state.waiting.count < Self.waitingMaximum ? .waits : .full
    }
    switch turn {
    case .now(let lane): return lane
    case .full: return nil
    case .waits:
      return await withCheckedContinuation { continuation in
        let lane = state.withLock { state -> Lane? in
          if let lane = state.free.popLast() { return lane }
          state.waiting.append(continuation)
          return nil
        }
        if let lane { continuation.resume(returning: lane) }
      }
    }
  }

  private func giveBack(_ lane: Lane) {
    let next = state.withLock { state -> CheckedContinuation<Lane, Never>? in
      if state.waiting.isEmpty {
        state.free.append(lane)
        return nil
      }
      return state.waiting.removeFirst()
    }
    next?.resume(returning: lane)
  }
}
