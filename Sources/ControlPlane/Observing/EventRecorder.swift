package import ClusterAPI
package import ClusterModel
import FoundationEssentials
package import Logging
package import StateStore

/// Keeps the last events of the cluster in the soft store, and writes each into the log index.
///
/// Equal events (object, reason, message) of five minutes are one object that counts.
package actor EventRecorder {
  /// Events kept.
  static let kept = 2000
  /// Time in which equal events are counted together, milliseconds.
  static let countWithin: Int64 = 300_000

  private struct Key: Hashable {
    let kind: String
    let namespace: String?
    let name: String
    let reason: String
    let message: String
  }

  private let soft: any StateStore
  private let logs: (any LogSink)?
  private let source: String
  private let logger: Logger
  private var recent: [Key: Event] = [:]
  private var order: [String] = []
  private var counter = 0
  private var sequence: UInt64 = 0

  /// A recorder into a store and, if given, a log sink.
  package init(soft: any StateStore, logs: (any LogSink)?, logger: Logger) {
    self.soft = soft
    self.logs = logs
    self.logger = logger
    source = "control-plane/\(UUIDv7.make())"
  }

  /// Records that something happened.
  package func record(
    _ object: ObjectReference, reason: String, message: String, warning: Bool = false,
    component: String = "control-plane", at time: Timestamp = .now()
  ) async {
    let key = Key(
      kind: object.kind, namespace: object.namespace, name: object.name, reason: reason, message: message)
    let namespace = object.namespace ?? "default"
    var event: Event
    if let known = recent[key], time.milliseconds(since: known.firstTimestamp) < Self.countWithin {
      event = known
      event.count += 1
      event.lastTimestamp = time.wholeSeconds
    } else {
      counter += 1
      let stem = object.name.prefix(40)
      event = Event(
        metadata: ObjectMeta(
          name: "\(stem).\(String(time.milliseconds, radix: 36))\(String(counter, radix: 36))", namespace: namespace),
        about: object, reason: reason, message: message, warning: warning, component: component, at: time.wholeSeconds)
      event.metadata.uid = UUIDv7.make()
      event.metadata.creationTimestamp = time.wholeSeconds
    }
    recent[key] = event
    await store(event, key: key)
    await log(event, at: time)
  }

  private func store(_ event: Event, key: Key) async {
    let path = ObjectKeys.key(.event, event.metadata.namespace, event.metadata.name)
    if event.count == 1 { order.append(path) }
    var operations: [StoreOperation] = []
    while order.count > Self.kept {
      operations.append(.delete(order.removeFirst()))
    }
    if recent.count > Self.kept + Self.kept / 4 {
      let present = Set(order)
      recent = recent.filter { _, event in
        present.contains(ObjectKeys.key(.event, event.metadata.namespace, event.metadata.name))
      }
    }
    do {
      operations.append(.put(path, value: try ObjectStore.bytes(of: event), expires: nil))
      _ = try await soft.commit([], operations)
    } catch {
      logger.warning("event could not be kept", metadata: ["error": "\(error)"])
    }
  }

  /// What a record is about: a pod's name carries its revision's, and that the function's (NAME-00001-abcde).
  private static func name(_ reference: ObjectReference, in record: inout LogRecord) {
    func stem(_ name: String) -> String { name.lastIndex(of: "-").map { String(name[..<$0]) } ?? name }
    switch ResourceKind(rawValue: reference.kind) {
    case .function: record.function = reference.name
    case .revision:
      record.revision = reference.name
      record.function = stem(reference.name)
    case .pod:
      record.pod = reference.name
      record.revision = stem(reference.name)
      record.function = stem(record.revision)
    case .node: record.node = reference.name
    default: break
    }
  }

  private func log(_ event: Event, at time: Timestamp) async {
    guard let logs else { return }
    let reference = event.involvedObject
    var record = LogRecord(
      time: time, namespace: event.metadata.namespace ?? "default", stream: .event,
      level: event.type == "Warning" ? .warn : .info, msg: event.message,
      fields: [
        "reason": .string(event.reason), "kind": .string(reference.kind), "object": .string(reference.name),
        "count": .int(Int64(event.count)),
      ])
    Self.name(reference, in: &record)
    guard let line = try? JSONCoding.encoder.encode(record) else { return }
    sequence += 1
    do {
      _ = try await logs.append(source: source, firstSequence: sequence, lines: [Array(line)])
    } catch {
      logger.warning("event could not be logged", metadata: ["error": "\(error)"])
    }
  }
}
