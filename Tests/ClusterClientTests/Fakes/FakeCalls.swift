import ClusterAPI
import ClusterModel
import Foundation
import Synchronization

/// Asynchronous calls as a table of what was handed in.
final class FakeCalls: CallQueue, CallCatalog {
  let calls = Mutex<[AsyncCall]>([])
  let purged = Mutex<[String]>([])

  private func summary(_ call: AsyncCall) -> CallSummary {
    CallSummary(
      id: call.head.id, namespace: call.head.namespace, function: call.head.function, state: .dead, attempts: 5,
      enqueued: call.head.enqueued, ended: call.head.enqueued, status: 500, reason: "it failed")
  }

  func enqueue(_ call: AsyncCall) async throws(APIStatus) {
    let isKnown = calls.withLock { calls in
      if calls.contains(where: { $0.head.id == call.head.id }) { return true }
      calls.append(call)
      return false
    }
    if isKnown { throw APIStatus(code: 409, reason: "AlreadyExists", message: "known") }
    if call.head.function == "full" { throw .tooManyRequests("full", retryAfterSeconds: 1) }
  }

  func list(_ filter: CallFilter) async throws(APIStatus) -> [CallSummary] {
    calls.withLock { calls in
      calls.filter { call in
        call.head.namespace == filter.namespace && (filter.function ?? call.head.function) == call.head.function
          && (filter.state ?? .dead) == .dead
      }.prefix(filter.limit).map(summary)
    }
  }

  func show(namespace: String, id: String) async throws(APIStatus) -> CallDetail {
    guard let call = calls.withLock({ $0.first { $0.head.id == id && $0.head.namespace == namespace } }) else {
      throw APIStatus(code: 404, reason: "NotFound", message: "no such call")
    }
    return CallDetail(
      call: summary(call), method: call.head.method, path: call.head.path, bodyBytes: call.body.count,
      callback: call.head.callback, callbackOutcome: "sent",
      result: .init(
        status: 500, headers: [CallHeader("A", "b")], body: Data(call.body), truncated: false, seconds: 0.5),
      owner: call.head.owner)
  }

  func result(_ id: String, owner: String) async throws(APIStatus) -> CallDetail {
    let found = calls.withLock { $0.first { $0.head.id == id && $0.head.owner == owner } }
    guard let found else { throw APIStatus(code: 404, reason: "NotFound", message: "no such call") }
    return try await show(namespace: found.head.namespace, id: id)
  }

  func retry(namespace: String, id: String) async throws(APIStatus) -> CallSummary {
    var call = try await show(namespace: namespace, id: id).call
    call.state = .queued
    return call
  }

  func purge(namespace: String, function: String) async throws(APIStatus) -> Int {
    purged.withLock { $0.append("\(namespace)/\(function)") }
    return 3
  }
}
