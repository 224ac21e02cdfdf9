package import ApusFunction
import Synchronization

/// The invocations of a runtime and its polls for them: `RuntimeState`, and the threads that wait on it.
package final class Invocations: Sendable {
  /// What a poll gets.
  package enum Delivery: Sendable {
    case invocation(Invocation)
    /// Out of order, or another poll took its place.
    case refused
  }

  /// What an answer is for.
  package enum Answering: Sendable {
    case invocation(Invocation)
    case unknownID
    case outOfOrder
  }

  /// A connection that waits for an invocation.
  private final class Poll: Sendable {
    let connection: Int32
    private let found = Mutex<Delivery?>(nil)
    private let signal = Semaphore()

    init(connection: Int32) { self.connection = connection }

    func give(_ delivery: Delivery) {
      found.withLock { $0 = delivery }
      signal.post()
    }

    func wait() -> Delivery {
      signal.wait()
      return found.withLock { $0 } ?? .refused
    }
  }

  private struct State {
    var runtime: RuntimeState
    var invocations: [String: Invocation] = [:]
    var polls: [Int: Poll] = [:]
    var lastPoll = 0
    var fault: FunctionFault?
  }

  private let state: Mutex<State>

  /// For a runtime that takes so many invocations at once.
  package init(workers: Int) { state = Mutex(State(runtime: RuntimeState(workers: workers))) }

  /// Whether the runtime has asked for an invocation, and is there.
  package var isReady: Bool { state.withLock { $0.runtime.phase == .ready } }

  // MARK: callers

  /// Takes a call; false when one of its id is there already.
  package func submit(_ invocation: Invocation) -> Bool {
    let (known, poll, fault): (Bool, Poll?, FunctionFault?) = state.withLock { state in
      let outcome = state.runtime.invoke(invocation.id)
      switch outcome {
      case .known: return (true, nil, nil)
      case .ended: return (false, nil, state.fault ?? FunctionFault(type: "Runtime.Gone", message: "the runtime ended"))
      case .queued, .deliver: state.invocations[invocation.id] = invocation
      }
      guard case .deliver(let poll) = outcome else { return (false, nil, nil) }
      return (false, state.polls.removeValue(forKey: poll), nil)
    }
    poll?.give(.invocation(invocation))
    if let fault { invocation.offer(.failed(fault)) }
    return !known
  }

  /// The caller has gone: an invocation that the runtime does not have yet never reaches it.
  package func withdraw(_ invocation: Invocation) {
    let isOut = state.withLock { state in
      guard state.runtime.withdraw(invocation.id) else { return false }
      state.invocations[invocation.id] = nil
      return true
    }
    if isOut { invocation.offer(.withdrawn) }
  }

  // MARK: the runtime

  /// Waits for the next invocation on a connection of the runtime.
  package func next(on connection: Int32) -> Delivery {
    enum Step { case done(Delivery), wait(Poll, superseded: Poll?) }
    let step: Step = state.withLock { state in
      var outcome = Self.poll(&state)
      if outcome == .refused {
        // Polls whose connection is gone still hold their places.
        for (number, poll) in state.polls where Sockets.isGone(poll.connection) {
          state.runtime.forget(poll: number)
          state.polls.removeValue(forKey: number)?.give(.refused)
        }
        outcome = Self.poll(&state)
      }
      switch outcome {
      case .deliver(let id): return .done(state.invocations[id].map(Delivery.invocation) ?? .refused)
      case .refused: return .done(.refused)
      case .wait(let superseded):
        let poll = Poll(connection: connection)
        state.polls[state.lastPoll] = poll
        return .wait(poll, superseded: superseded.flatMap { state.polls.removeValue(forKey: $0) })
      }
    }
    switch step {
    case .done(let delivery): return delivery
    case .wait(let poll, let superseded):
      superseded?.give(.refused)
      return poll.wait()
    }
  }

  private static func poll(_ state: inout State) -> RuntimeState.Next {
    state.lastPoll += 1
    return state.runtime.next(poll: state.lastPoll)
  }

  /// The connection of a poll broke before the invocation was on it: another poll gets it.
  package func undelivered(_ invocation: Invocation) {
    let poll = state.withLock { state in
      state.runtime.undelivered(invocation.id).flatMap { state.polls.removeValue(forKey: $0) }
    }
    poll?.give(.invocation(invocation))
  }

  /// The runtime begins to answer.
  package func answer(_ id: String) -> Answering {
    state.withLock { state in
      switch state.runtime.answer(id) {
      case .accepted: state.invocations[id].map(Answering.invocation) ?? .unknownID
      case .unknownID: .unknownID
      case .outOfOrder: .outOfOrder
      }
    }
  }

  /// The answer is complete: `last` is its last part.
  package func answered(_ invocation: Invocation, last: Invocation.Part) {
    state.withLock { state in
      state.runtime.answered(invocation.id)
      state.invocations[invocation.id] = nil
    }
    invocation.offer(last)
  }

  /// The runtime says that it cannot start; false when that is out of order.
  package func failInit(_ fault: FunctionFault) -> Bool {
    guard state.withLock({ $0.runtime.failInit() }) else { return false }
    end(fault, .failed)
    return true
  }

  /// The runtime is gone; answers whether it had ever been ready.
  @discardableResult
  package func end(_ fault: FunctionFault, _ phase: RuntimeState.Phase = .ended) -> Bool {
    let (left, polls, wasReady) = state.withLock { state in
      let wasReady = state.runtime.phase == .ready
      let gone = state.runtime.end(phase)
      let left = gone.invocations.compactMap { state.invocations.removeValue(forKey: $0) }
      let polls = gone.polls.compactMap { state.polls.removeValue(forKey: $0) }
      if state.fault == nil { state.fault = fault }
      return (left, polls, wasReady)
    }
    for poll in polls { poll.give(.refused) }
    for invocation in left { invocation.offer(.failed(fault)) }
    return wasReady
  }

  // MARK: output

  /// Whose a printed line is: the only one that runs, or the one whose request id is in it; nil when that is not known.
  package func owner(of line: ArraySlice<UInt8>) -> CallOutput? {
    state.withLock { state in
      if let id = state.runtime.current { return state.invocations[id]?.output }
      guard !state.runtime.running.isEmpty else { return nil }
      let beginning = line.prefix(Self.searchedBytes)
      return RequestID.named(in: beginning, of: state.runtime.running).flatMap { state.invocations[$0]?.output }
    }
  }

  /// Whether the runtime takes one invocation after the other, so that all it prints meanwhile is that one's.
  package var isSingle: Bool { state.withLock { $0.runtime.isSingle } }

  /// How far into a line a request id is looked for.
  private static let searchedBytes = 16 * 1024
}
