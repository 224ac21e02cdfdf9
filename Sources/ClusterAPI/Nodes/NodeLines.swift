internal import ClusterModel
internal import Foundation
internal import Synchronization

/// The lines of JSON of a node's session, a message or command each.
///
/// The report of a pod and the command to start one are written and read by hand, because every cold start waits for one
/// of each and Codable takes 0.1 to 0.2 ms for either end of both; everything else, and a line of another make, is
/// JSONEncoder's and JSONDecoder's. The spec in a start command is the same for every pod of a revision: its text and what
/// it means are kept.
package final class NodeLines: Sendable {
  /// Longest line, bytes: a hello tells of every pod of its node, of which there may be `Limits.slots`, in about 1 KiB each.
  package static let bytesMax = 64 << 20
  /// Specs that are kept, each way; one more drops all.
  static let specsMaximum = 1024
  /// The longest spec that is kept, bytes.
  static let specBytesMaximum = 16 << 10

  private let texts = Mutex<[RevisionSpec: [UInt8]]>([:])
  private let specs = Mutex<[[UInt8]: RevisionSpec]>([:])

  /// Lines of one end of sessions.
  package init() {}

  /// A message as a line without its newline.
  package func text(_ message: WorkerMessage) throws -> [UInt8] {
    guard case .pod(let report) = message else { return Array(try JSONCoding.encoder.encode(message)) }
    var writer = LineWriter()
    writer.open()
    writer.key("pod")
    writer.open()
    writer.key("_0")
    writer.write(report)
    writer.close()
    writer.close()
    return writer.bytes
  }

  /// The message of a line; throws `DecodingError`.
  package func message(_ line: [UInt8]) throws -> WorkerMessage {
    if let report = try? Self.report(line) { return .pod(report) }
    return try JSONDecoder().decode(WorkerMessage.self, from: Data(line))
  }

  /// A command as a line without its newline.
  package func text(_ command: NodeCommand) throws -> [UInt8] {
    guard case .start(let assignment) = command.action else { return Array(try JSONCoding.encoder.encode(command)) }
    var writer = LineWriter()
    writer.open()
    writer.key("action")
    writer.open()
    writer.key("start")
    writer.open()
    writer.key("_0")
    writer.write(assignment, spec: try text(assignment.spec))
    writer.close()
    writer.close()
    writer.member("epoch", command.epoch)
    writer.member("id", command.id)
    writer.close()
    return writer.bytes
  }

  /// The command of a line; throws `DecodingError`.
  package func command(_ line: [UInt8]) throws -> NodeCommand {
    if let command = try? start(line) { return command }
    return try JSONDecoder().decode(NodeCommand.self, from: Data(line))
  }

  // MARK: parts

  private func text(_ spec: RevisionSpec) throws -> [UInt8] {
    if let known = texts.withLock({ $0[spec] }) { return known }
    let text = Array(try JSONCoding.encoder.encode(spec))
    guard text.count <= Self.specBytesMaximum else { return text }
    texts.withLock { texts in
      if texts.count >= Self.specsMaximum { texts = [:] }
      texts[spec] = text
    }
    return text
  }

  private func spec(_ text: [UInt8]) throws(LineReader.Foreign) -> RevisionSpec {
    if let known = specs.withLock({ $0[text] }) { return known }
    guard let spec = try? JSONDecoder().decode(RevisionSpec.self, from: Data(text)) else { throw LineReader.Foreign() }
    guard text.count <= Self.specBytesMaximum else { return spec }
    specs.withLock { specs in
      if specs.count >= Self.specsMaximum { specs = [:] }
      specs[text] = spec
    }
    return spec
  }

  private static func report(_ line: [UInt8]) throws(LineReader.Foreign) -> PodReport {
    var reader = LineReader(line)
    var report: PodReport?
    try reader.object { (reader, key) throws(LineReader.Foreign) in
      guard key == "pod" else { throw LineReader.Foreign() }
      try reader.object { (reader, key) throws(LineReader.Foreign) in
        guard key == "_0" else { throw LineReader.Foreign() }
        report = try reader.report()
      }
    }
    guard let report, reader.isAtEnd else { throw LineReader.Foreign() }
    return report
  }

  private func start(_ line: [UInt8]) throws(LineReader.Foreign) -> NodeCommand {
    var reader = LineReader(line)
    var (id, epoch): (UInt64?, UInt64?)
    var assignment: PodAssignment?
    try reader.object { (reader, key) throws(LineReader.Foreign) in
      switch key {
      case "id": id = try reader.integer()
      case "epoch": epoch = try reader.integer()
      case "action":
        try reader.object { (reader, key) throws(LineReader.Foreign) in
          guard key == "start" else { throw LineReader.Foreign() }
          try reader.object { (reader, key) throws(LineReader.Foreign) in
            guard key == "_0" else { throw LineReader.Foreign() }
            assignment = try self.assignment(&reader)
          }
        }
      default: throw LineReader.Foreign()
      }
    }
    guard let id, let epoch, let assignment, reader.isAtEnd else { throw LineReader.Foreign() }
    return NodeCommand(id: id, epoch: epoch, action: .start(assignment))
  }

  private func assignment(_ reader: inout LineReader) throws(LineReader.Foreign) -> PodAssignment {
    var (uid, name, namespace, revision): (String?, String?, String?, String?)
    var spec: RevisionSpec?
    var wantedAt: Timestamp?
    try reader.object { (reader, key) throws(LineReader.Foreign) in
      switch key {
      case "uid": uid = try reader.string()
      case "name": name = try reader.string()
      case "namespace": namespace = try reader.string()
      case "revision": revision = try reader.string()
      case "spec": spec = try self.spec(try reader.value())
      case "wantedAt": wantedAt = try reader.time()
      default: throw LineReader.Foreign()
      }
    }
    guard let uid, let name, let namespace, let revision, let spec, let wantedAt else { throw LineReader.Foreign() }
    return PodAssignment(
      uid: uid, name: name, namespace: namespace, revision: revision, spec: spec, wantedAt: wantedAt)
  }
}

extension LineWriter {
  fileprivate mutating func write(_ assignment: PodAssignment, spec: [UInt8]) {
    open()
    member("name", assignment.name)
    member("namespace", assignment.namespace)
    member("revision", assignment.revision)
    member("spec", json: spec)
    member("uid", assignment.uid)
    member("wantedAt", assignment.wantedAt.description)
    close()
  }

  fileprivate mutating func write(_ report: PodReport) {
    open()
    key("detail")
    write(report.detail)
    member("name", report.name)
    member("namespace", report.namespace)
    member("uid", report.uid)
    close()
  }

  private mutating func write(_ detail: PodDetail) {
    open()
    if let endpoint = detail.endpoint {
      key("endpoint")
      open()
      member("host", endpoint.host)
      member("socket", endpoint.socket)
      member("worker", endpoint.worker)
      close()
    }
    member("everReady", detail.everReady)
    if let code = detail.exitCode { member("exitCode", code) }
    member("failed", detail.failed)
    member("function", detail.function)
    list("history", detail.history) { writer, step in
      writer.member("at", step.at.description)
      writer.member("life", step.life.rawValue)
      writer.member("reason", step.reason)
    }
    member("life", detail.life.rawValue)
    if let memory = detail.memory { member("memory", memory) }
    member("message", detail.message)
    member("reason", detail.reason)
    member("restarts", detail.restarts)
    member("revision", detail.revision)
    if let startup = detail.startup {
      key("startup")
      open()
      member("placed", startup.placed)
      member("prepared", startup.prepared)
      member("ready", startup.ready)
      member("sandboxed", startup.sandboxed)
      member("started", startup.started)
      close()
    }
    close()
  }
}

extension LineReader {
  fileprivate mutating func time() throws(Foreign) -> Timestamp {
    guard let time = Timestamp(try string()) else { throw Foreign() }
    return time
  }

  private mutating func life() throws(Foreign) -> PodLife {
    guard let life = PodLife(rawValue: try string()) else { throw Foreign() }
    return life
  }

  fileprivate mutating func report() throws(Foreign) -> PodReport {
    var (uid, name, namespace): (String?, String?, String?)
    var detail: PodDetail?
    try object { (reader, key) throws(Foreign) in
      switch key {
      case "uid": uid = try reader.string()
      case "name": name = try reader.string()
      case "namespace": namespace = try reader.string()
      case "detail": detail = try reader.detail()
      default: throw Foreign()
      }
    }
    guard let uid, let name, let namespace, let detail else { throw Foreign() }
    return PodReport(uid: uid, name: name, namespace: namespace, detail: detail)
  }

  private mutating func detail() throws(Foreign) -> PodDetail {
    var (function, revision): (String?, String?)
    var life: PodLife?
    var detail = PodDetail(function: "", revision: "", life: .wanted)
    try object { (reader, key) throws(Foreign) in
      switch key {
      case "endpoint": detail.endpoint = try reader.endpoint()
      case "everReady": detail.everReady = try reader.bool()
      case "exitCode": detail.exitCode = try reader.integer()
      case "failed": detail.failed = try reader.bool()
      case "function": function = try reader.string()
      case "history": detail.history = try reader.history()
      case "life": life = try reader.life()
      case "memory": detail.memory = try reader.integer()
      case "message": detail.message = try reader.string()
      case "reason": detail.reason = try reader.string()
      case "restarts": detail.restarts = try reader.integer()
      case "revision": revision = try reader.string()
      case "startup": detail.startup = try reader.startup()
      default: throw Foreign()
      }
    }
    guard let function, let revision, let life else { throw Foreign() }
    (detail.function, detail.revision, detail.life) = (function, revision, life)
    return detail
  }

  private mutating func endpoint() throws(Foreign) -> PodEndpoint {
    var (socket, host, worker): (String?, String?, String?)
    try object { (reader, key) throws(Foreign) in
      switch key {
      case "socket": socket = try reader.string()
      case "host": host = try reader.string()
      case "worker": worker = try reader.string()
      default: throw Foreign()
      }
    }
    guard let socket, let host else { throw Foreign() }
    return PodEndpoint(socket: socket, host: host, worker: worker)
  }

  private mutating func history() throws(Foreign) -> [PodStep] {
    var steps: [PodStep] = []
    try list { (reader) throws(Foreign) in
      var life: PodLife?
      var at: Timestamp?
      var reason: String?
      try reader.object { (reader, key) throws(Foreign) in
        switch key {
        case "life": life = try reader.life()
        case "at": at = try reader.time()
        case "reason": reason = try reader.string()
        default: throw Foreign()
        }
      }
      guard let life, let at else { throw Foreign() }
      steps.append(PodStep(life: life, at: at, reason: reason))
    }
    return steps
  }

  private mutating func startup() throws(Foreign) -> StartupBreakdown {
    var startup = StartupBreakdown()
    try object { (reader, key) throws(Foreign) in
      switch key {
      case "placed": startup.placed = try reader.number()
      case "prepared": startup.prepared = try reader.number()
      case "sandboxed": startup.sandboxed = try reader.number()
      case "started": startup.started = try reader.number()
      case "ready": startup.ready = try reader.number()
      default: throw Foreign()
      }
    }
    return startup
  }
}
