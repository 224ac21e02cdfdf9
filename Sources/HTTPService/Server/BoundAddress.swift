internal import Synchronization

/// The port a server got, for those who wait for it.
package final class BoundAddress: Sendable {
  private enum State {
    case waiting([CheckedContinuation<Int, any Error>])
    case bound(Int)
    case failed(any Error)
  }

  private let state = Mutex(State.waiting([]))

  init() {}

  /// The port, once the server listens; throws why it does not.
  package var port: Int {
    get async throws {
      try await withCheckedThrowingContinuation { continuation in
        let result: Result<Int, any Error>? = state.withLock { state in
          switch state {
          case .waiting(let others):
            state = .waiting(others + [continuation])
            return nil
          case .bound(let port): return .success(port)
          case .failed(let error): return .failure(error)
          }
        }
        if let result { continuation.resume(with: result) }
      }
    }
  }

  /// Notes the port and tells everyone who waits.
  func set(port: Int) { finish(.bound(port), .success(port)) }

  /// Notes that the server is over and tells everyone who waits.
  func fail(_ error: any Error) { finish(.failed(error), .failure(error)) }

  private func finish(_ end: State, _ result: Result<Int, any Error>) {
    let waiting = state.withLock { state -> [CheckedContinuation<Int, any Error>] in
      defer { state = end }
      if case .waiting(let waiting) = state { return waiting }
      return []
    }
    for continuation in waiting { continuation.resume(with: result) }
  }
}
