internal import Synchronization

/// Keeps what was used last, by the names of files, within a bound on bytes.
final class RecentCache<Value: Sendable>: Sendable {
  private struct Held {
    var value: Value
    var bytes: Int
    var used: Int
  }

  private struct State {
    var held: [String: Held] = [:]
    var bytes = 0
    var clock = 0
  }

  private let bytesMaximum: Int
  private let state = Mutex(State())

  init(bytesMaximum: Int) { self.bytesMaximum = bytesMaximum }

  func value(_ name: String) -> Value? {
    state.withLock { state in
      state.clock += 1
      state.held[name]?.used = state.clock
      return state.held[name]?.value
    }
  }

  /// Keeps a value of so many bytes; those not used for longest give way.
  func keep(_ value: Value, _ name: String, bytes: Int) {
    state.withLock { state in
      state.clock += 1
      let before = state.held.updateValue(Held(value: value, bytes: bytes, used: state.clock), forKey: name)
      state.bytes += bytes - (before?.bytes ?? 0)
      shrink(&state)
    }
  }

  /// Corrects how many bytes a value is that is kept.
  func resize(_ name: String, bytes: Int) {
    state.withLock { state in
      guard let before = state.held[name] else { return }
      state.held[name]?.bytes = bytes
      state.bytes += bytes - before.bytes
      shrink(&state)
    }
  }

  private func shrink(_ state: inout State) {
    while state.bytes > bytesMaximum, state.held.count > 1,
      let oldest = state.held.min(by: { $0.value.used < $1.value.used })
    {
      state.held[oldest.key] = nil
      state.bytes -= oldest.value.bytes
    }
  }

  func forget(_ name: String) {
    state.withLock { state in
      if let held = state.held.removeValue(forKey: name) { state.bytes -= held.bytes }
    }
  }
}
