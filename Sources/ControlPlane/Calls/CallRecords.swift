import ClusterAPI
import ClusterModel
import FoundationEssentials
import StateStore

/// How calls lie in the store: under `calls/` the request, written once; under `ends/` what became of it, written when
/// an attempt failed or the call ended; bodies beyond a few kilobytes beside them, so that a start need not read them.
enum CallRecords {
  /// A body of at most so many bytes lies in the record itself.
  static let inlineBody = 4096
  /// Calls removed in one commit: four keys each.
  static let removedAtOnce = StoreLimits.operationsMax / 4

  static let calls = "calls/"
  static let ends = "ends/"
  private static let callBodies = "call-bodies/"
  private static let endBodies = "end-bodies/"

  /// The part of a key that names the call.
  static func name(_ namespace: String, _ function: String, _ id: String) -> String { "\(namespace)/\(function)/\(id)" }

  /// A request's record.
  struct Request: Codable {
    var head: AsyncCall.Head
    /// Bytes of its body.
    var bytes: Int
  }

  /// What became of a call so far.
  struct Progress: Codable {
    var state: CallState
    var attempts: Int
    var next: Timestamp?
    var ended: Timestamp?
    var reason: String?
    /// The last answer, without its body.
    var status: Int?
    var headers: [CallHeader] = []
    var seconds = 0.0
    var truncated = false
    /// Bytes of the answer's body.
    var bytes = 0
    /// `waiting`, `sent`, or why it was given up; nil without one.
    var callback: String?
  }

  static func put(_ call: AsyncCall) -> [StoreOperation] {
    let name = name(call.head.namespace, call.head.function, call.head.id)
    return put(
      Request(head: call.head, bytes: call.body.count), call.body, at: calls + name, large: callBodies + name)
  }

  static func put(_ progress: Progress, body: [UInt8], _ name: String) -> [StoreOperation] {
    put(progress, body, at: ends + name, large: endBodies + name)
  }

  private static func put(_ record: some Encodable, _ body: [UInt8], at key: String, large: String) -> [StoreOperation]
  {
    let line = line(record)
    if body.count <= inlineBody { return [.put(key, value: line + body)] }
    return [.put(key, value: line), .put(large, value: body)]
  }

  private static func line(_ record: some Encodable) -> [UInt8] {
    // Texts, numbers and times always encode.
    Array((try? JSONCoding.encoder.encode(record)) ?? Data()) + [10]
  }

  /// Removes all there is of a call.
  static func remove(_ name: String) -> [StoreOperation] {
    [.delete(calls + name), .delete(callBodies + name)] + removeEnd(name)
  }

  /// Removes what became of a call.
  static func removeEnd(_ name: String) -> [StoreOperation] { [.delete(ends + name), .delete(endBodies + name)] }

  /// Reads a record's first line.
  static func read<T: Decodable>(_ type: T.Type, _ value: [UInt8]) throws -> T {
    let end = value.firstIndex(of: 10) ?? value.endIndex
    return try JSONDecoder().decode(T.self, from: Data(value[..<end]))
  }

  /// A request with its body; nil when it is not kept.
  static func call(_ name: String, in store: any StateStore) async throws -> AsyncCall? {
    guard let object = try await store.get(calls + name) else { return nil }
    let request = try read(Request.self, object.value)
    return AsyncCall(
      request.head, body: try await body(request.bytes, of: object.value, large: callBodies + name, in: store))
  }

  /// What became of a call, with the answer's body; nil when nothing did yet.
  static func end(_ name: String, in store: any StateStore) async throws -> (Progress, [UInt8])? {
    guard let object = try await store.get(ends + name) else { return nil }
    let progress = try read(Progress.self, object.value)
    return (progress, try await body(progress.bytes, of: object.value, large: endBodies + name, in: store))
  }

  private static func body(
    _ count: Int, of value: [UInt8], large: String, in store: any StateStore
  ) async throws -> [UInt8] {
    guard count > inlineBody else { return Array(value[((value.firstIndex(of: 10) ?? value.endIndex - 1) + 1)...]) }
    return try await store.get(large)?.value ?? []
  }
}
