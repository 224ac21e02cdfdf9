import Glibc
import Synchronization

/// A descriptor that is closed with its last owner, or before.
final class Descriptor: Sendable {
  private let state: Mutex<CInt>

  /// Owns a descriptor that is open.
  init(_ number: CInt) { state = Mutex(number) }

  /// The descriptor; -1 once it is closed.
  var number: CInt { state.withLock { $0 } }

  /// Closes it now.
  func close() {
    let number = state.withLock { number in
      defer { number = -1 }
      return number
    }
    if number >= 0 { Glibc.close(number) }
  }

  deinit { close() }
}
