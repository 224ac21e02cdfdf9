import Synchronization

/// Tells a running call that its client has gone.
package final class Cancellation: Sendable {
  private struct State {
    var isCancelled = false
    var action: (@Sendable () -> Void)?
  }

  private let state = Mutex(State())

  /// Not cancelled.
  package init() {}

  /// Whether the client has gone.
  package var isCancelled: Bool { state.withLock { $0.isCancelled } }

  /// Cancels once; runs the action that was set.
  func cancel() {
    let action = state.withLock { state in
      defer { state.action = nil }
      state.isCancelled = true
      return state.action
    }
    action?()
  }

  /// Sets what cancelling does; done at once if it was cancelled before.
  package func onCancel(_ action: @escaping @Sendable () -> Void) {
    let late = state.withLock { state in
      if !state.isCancelled { state.action = action }
      return state.isCancelled
    }
    if late { action() }
  }
}
