internal import Synchronization

/// A value that is given once and taken by one waiter; the first value wins.
final class OneShot<Value: Sendable>: Sendable {
  private enum State {
    case empty
    case waiting(CheckedContinuation<Value?, Never>)
    case given(Value?)
  }

  private let state = Mutex(State.empty)

  /// Gives the value; later ones are dropped.
  func give(_ value: Value?) {
    let waiter: CheckedContinuation<Value?, Never>? = state.withLock { state in
      switch state {
      case .empty:
        state = .given(value)
        return nil
      case .waiting(let waiter):
        state = .given(value)
        return waiter
      case .given: return nil
      }
    }
    waiter?.resume(returning: value)
  }

  /// Waits for the value; nil when the task is cancelled first. Only one task may wait.
  func value() async -> Value? {
    await withTaskCancellationHandler {
      await withCheckedContinuation { waiter in
        let given: Value?? = state.withLock { state in
          if case .given(let value) = state { return .some(value) }
          state = .waiting(waiter)
          return nil
        }
        if let given { waiter.resume(returning: given) }
      }
    } onCancel: {
      give(nil)
    }
  }

  /// Waits for the value at most so long; nil after that.
  func value(within patience: Duration) async -> Value? {
    let timer = Task {
      do { try await Task.sleep(for: patience) } catch { return }
      give(nil)
    }
    defer { timer.cancel() }
    return await value()
  }
}
