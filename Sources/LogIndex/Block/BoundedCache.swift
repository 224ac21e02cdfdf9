internal import Synchronization

/// Keeps what is used most, by the names of files, within a bound on bytes.
final class BoundedCache<Value: Sendable>: Sendable {
  private struct State {
    var values: [String: Value] = [:]
    var order: CacheOrder

    mutating func drop(_ names: [String]) -> [Value?] { names.map { values.removeValue(forKey: $0) } }
  }

  private let state: Mutex<State>

  init(bytesMaximum: Int) { state = Mutex(State(order: CacheOrder(bytesMaximum: bytesMaximum))) }

  /// The value if it is kept, for use.
  func value(_ name: String) -> Value? {
    state.withLock { state in
      state.order.use(name)
      return state.values[name]
    }
  }

  /// The value if it is kept, for a look that is no use of it.
  func glimpse(_ name: String) -> Value? { state.withLock { $0.values[name] } }

  /// Keeps a value of so many bytes, unless what is kept is used more.
  func keep(_ value: Value, _ name: String, bytes: Int) {
    // What gives way ends when nobody waits for the lock.
    _ = state.withLock { state in
      let before = state.values.updateValue(value, forKey: name)
      return state.drop(state.order.keep(name, bytes: bytes)) + [before]
    }
  }

  /// Corrects how many bytes a value is that is kept.
  func resize(_ name: String, bytes: Int) {
    _ = state.withLock { state in state.drop(state.order.resize(name, bytes: bytes)) }
  }

  /// Keeps a value no longer.
  func forget(_ name: String) {
    _ = state.withLock { state in
      state.order.remove(name)
      return state.values.removeValue(forKey: name)
    }
  }
}
