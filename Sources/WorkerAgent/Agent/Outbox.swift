import ClusterAPI
import ClusterModel
import Synchronization

/// What the server is to be told: of each pod the newest report, events, signs of life. Bounded by the pods and
/// `eventsMaximum`; outlives sessions, so that what happened meanwhile is told when the server is back.
final class Outbox: Sendable {
  /// Events kept while there is no session; the oldest go first.
  static let eventsMaximum = 1000
  /// Ends of pods told to a session that may not have heard them, told again to the next.
  static let unconfirmedMaximum = 256

  private struct State {
    var reports: [String: PodReport] = [:]
    var order: [String] = []
    var events: [ReportedEvent] = []
    var unconfirmed: [PodReport] = []
    var stems: [String: Int] = [:]
    var stemsChanged = false
    var heartbeat = false
    var goodbye = false
    var signal: AsyncStream<Void>.Continuation?
  }

  private let state = Mutex(State())

  /// Begins a session: ends the signal of the one before, and tells ends of pods again that the one before may not have
  /// heard. The stream gives an element whenever `take` has something.
  func open() -> AsyncStream<Void> {
    let (stream, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    state.withLock { state in
      state.signal?.finish()
      state.signal = continuation
      for report in state.unconfirmed where state.reports[report.uid] == nil {
        state.reports[report.uid] = report
        state.order.append(report.uid)
      }
      state.unconfirmed = []
      state.stemsChanged = !state.stems.isEmpty
      state.heartbeat = true
    }
    continuation.yield()
    return stream
  }

  /// Ends the session's signal.
  func close() {
    state.withLock { state in
      state.signal?.finish()
      state.signal = nil
    }
  }

  /// Notes a pod's state; an older report of it that waits is replaced. That a new pod is starting goes along with what is
  /// told next, at the latest a sign of life, unless it says where the pod's requests may wait already.
  func put(_ report: PodReport) {
    let canWait =
      report.detail.life == .starting && report.detail.restarts == 0
      && report.detail.endpoint == nil
    change(signals: !canWait) { state in
      if state.reports.updateValue(report, forKey: report.uid) == nil { state.order.append(report.uid) }
    }
  }

  /// Notes an event.
  func put(_ event: ReportedEvent) {
    change { state in
      if state.events.count >= Self.eventsMaximum { state.events.removeFirst() }
      state.events.append(event)
    }
  }

  /// Notes how many pods made ahead wait; goes along with what is told next.
  func put(stems: [String: Int]) {
    change(signals: false) { state in
      guard state.stems != stems else { return }
      state.stems = stems
      state.stemsChanged = true
    }
  }

  /// Asks for a sign of life.
  func beat() { change { $0.heartbeat = true } }

  /// Asks for the last message.
  func sayGoodbye() { change { $0.goodbye = true } }

  /// Everything that waits, in the order to send it.
  func take() -> [WorkerMessage] {
    state.withLock { state in
      var messages: [WorkerMessage] = []
      for uid in state.order {
        guard let report = state.reports[uid] else { continue }
        messages.append(.pod(report))
        if report.detail.life == .gone { state.unconfirmed.append(report) }
      }
      let excess = state.unconfirmed.count - Self.unconfirmedMaximum
      if excess > 0 { state.unconfirmed.removeFirst(excess) }
      state.reports = [:]
      state.order = []
      messages += state.events.map { .event($0) }
      state.events = []
      if state.stemsChanged { messages.append(.stems(state.stems)) }
      state.stemsChanged = false
      if state.heartbeat { messages.append(.heartbeat) }
      state.heartbeat = false
      if state.goodbye { messages.append(.goodbye) }
      state.goodbye = false
      return messages
    }
  }

  private func change(signals: Bool = true, _ body: (inout State) -> Void) {
    let signal = state.withLock { state in
      body(&state)
      return state.signal
    }
    if signals { signal?.yield() }
  }
}
