package import ApusFunction
import Synchronization

/// One call on its way through the runtime: what the runtime gets, and the way its answer takes back.
///
/// The thread that has the caller takes every part until the last, also when the caller has gone, so that whoever
/// answers never waits for long.
package final class Invocation: Sendable {
  /// A part of the answer.
  package enum Part: Sendable {
    /// All of it.
    case whole(type: String, body: [UInt8])
    /// It begins, and comes in pieces.
    case begin(type: String)
    /// A piece.
    case bytes([UInt8])
    /// The last piece was the end.
    case end
    /// There is none, or no more of it.
    case failed(FunctionFault)
    /// The caller left before the runtime had it.
    case withdrawn

    /// Whether no part follows.
    var isLast: Bool {
      switch self {
      case .begin, .bytes: false
      case .whole, .end, .failed, .withdrawn: true
      }
    }
  }

  /// Parts that may wait to be taken; whoever has more waits.
  static let partsMaximum: UInt32 = 4

  /// Its id in the Runtime API.
  package let id: String
  /// The fields of the answer to the poll that gets it.
  package let headers: Headers
  /// The event.
  package let event: [UInt8]
  /// Where what the runtime prints meanwhile is logged.
  package let output: CallOutput

  private let parts = Mutex<(waiting: [Part], isOver: Bool)>(([], false))
  private let filled = Semaphore()
  private let room = Semaphore(partsMaximum)

  /// An invocation of a call.
  package init(_ request: InvocationRequest, event: [UInt8], output: CallOutput) {
    id = request.id
    headers = request.headers
    self.event = event
    self.output = output
  }

  /// Adds a part of the answer; what follows the last is dropped.
  package func offer(_ part: Part) {
    room.wait()
    let taken = parts.withLock { parts in
      guard !parts.isOver else { return false }
      parts.isOver = part.isLast
      parts.waiting.append(part)
      return true
    }
    if taken { filled.post() } else { room.post() }
  }

  /// The next part of the answer; waits for it.
  package func take() -> Part {
    filled.wait()
    let part = parts.withLock { $0.waiting.removeFirst() }
    room.post()
    return part
  }
}
