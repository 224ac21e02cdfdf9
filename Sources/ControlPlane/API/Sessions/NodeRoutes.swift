internal import ClusterAPI
internal import ClusterModel
internal import Logging
internal import Foundation
internal import HTTPService
internal import HTTPTypes
internal import Hummingbird
internal import Logging

/// What workers use: the two streams of a session, certificates, secrets of pods.
struct NodeRoutes: Sendable {
  /// Commands that may wait for a slow worker; one more ends the session.
  static let waitingCommandsMax = 65_536
  /// Bytes of a certificate request at most.
  static let requestBytesMax = 64 << 10

  let services: APIServices
  private let joiner = SessionJoiner()
  private let lines = NodeLines()

  /// Routes over services.
  init(services: APIServices) { self.services = services }

  /// Adds the routes.
  func register(on router: Router<AdminContext>) {
    router.post("/internal/v1/nodes/:node/reports") { try await reports($0, $1) }
    router.get("/internal/v1/nodes/:node/commands") { try await commands($0, $1) }
    for role in [MemberRole.node, .gateway] {
      router.post("/internal/v1/\(role.plural)/:node/certificate") { try await certificate($0, $1, role) }
    }
    router.get("/internal/v1/pods/:uid/secrets") { try await secrets($0, $1) }
  }

  // MARK: A session

  /// The stream up. It lasts as long as the session and is answered at its end.
  private func reports(_ request: Request, _ context: AdminContext) async throws -> Response {
    let node = try context.parameters.require("node")
    try context.require(.workAs(node: node))
    let commandsEnded = OneShot<Void>()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await serve(request, node, commandsEnded) }
      group.addTask { await commandsEnded.value() }
      // Whichever stream ends first ends the session; the loop over reports then says so to the registry.
      try await group.next()
      group.cancelAll()
      while let _ = try? await group.next() {}
    }
    return .json(.object([:]))
  }

  private func serve(_ request: Request, _ node: String, _ commandsEnded: OneShot<Void>) async throws {
    var lines = RequestLines(request.body, bound: NodeLines.bytesMax)
    guard let first = try await lines.next(), case .hello(let hello) = try message(first) else {
      throw APIStatus.badRequest("a session starts with a hello")
    }
    guard hello.name == node else {
      throw APIStatus.badRequest("the hello names node \"\(hello.name)\", the path \"\(node)\"")
    }
    let side = try await joiner.reports("\(node)/\(hello.session)")
    let handle: NodeSessionHandle
    do throws(APIStatus) {
      handle = try await services.sessions.open(hello)
    } catch {
      side.opened.give(.failure(error))
      throw error
    }
    let reportsEnded = OneShot<Void>()
    side.opened.give(
      .success(SessionJoiner.Opened(handle: handle, commandsEnded: commandsEnded, reportsEnded: reportsEnded)))
    var clean = false
    do {
      while let line = try await lines.next() {
        let message = try message(line)
        if case .goodbye = message { clean = true }
        await handle.receive(message)
      }
    } catch {
      // A broken connection and an unreadable message end the session alike; the worker opens a new one.
    }
    await handle.closed(clean)
    reportsEnded.give(())
  }

  private func message(_ line: [UInt8]) throws -> WorkerMessage {
    do {
      return try lines.message(line)
    } catch {
      throw APIStatus.badRequest("a worker's message cannot be read: \(JSONFault.words(error))")
    }
  }

  /// The stream down; its head says that the session is open, and its epoch.
  private func commands(_ request: Request, _ context: AdminContext) async throws -> Response {
    let node = try context.parameters.require("node")
    try context.require(.workAs(node: node))
    guard let session = QueryParameters(request.uri.query)["session"] else {
      throw APIStatus.badRequest("session= is missing")
    }
    let opened = try await joiner.commands("\(node)/\(session)")
    var headers: HTTPFields = [:]
    if let name = HTTPField.Name("Apus-Session-Epoch") { headers[name] = String(opened.handle.epoch) }
    return StreamResponse.live(
      Self.commands(of: opened), to: request, contentType: "application/x-ndjson", headers: headers,
      encode: { try lines.text($0) + [10] }, ended: { opened.commandsEnded.give(()) })
  }

  /// The commands until the session or its stream of reports ends.
  private static func commands(of opened: SessionJoiner.Opened) -> AsyncStream<NodeCommand> {
    let (stream, sink) = AsyncStream<NodeCommand>.makeStream(bufferingPolicy: .bufferingOldest(waitingCommandsMax))
    let pump = Task {
      await withTaskGroup { group in
        group.addTask {
          for await command in opened.handle.commands {
            if case .dropped = sink.yield(command) { return }
          }
        }
        group.addTask { await opened.reportsEnded.value() }
        await group.next()
        sink.finish()
        group.cancelAll()
      }
    }
    sink.onTermination = { _ in pump.cancel() }
    return stream
  }

  // MARK: Identity and secrets

  /// A certificate for a member, for a join token or for the member's present certificate.
  private func certificate(_ request: Request, _ context: AdminContext, _ role: MemberRole) async throws -> Response {
    let name = try context.parameters.require("node")
    try context.require(.certify(role, name))
    if let fault = Schema.Rule.dnsLabel.check(name) {
      throw APIStatus.badRequest("the \(role.rawValue)'s name \(fault)")
    }
    let body = try await request.json(upTo: Self.requestBytesMax)
    guard let csr = body["csr"]?.stringValue else { throw APIStatus.badRequest("csr is missing: a PEM request") }
    let issued: IssuedCertificate
    do throws(SecurityError) {
      issued = try services.authority.sign(request: csr, for: role, name, now: services.now())
    } catch {
      throw APIStatus.badRequest(error.description)
    }
    context.logger.info(
      "certificate issued", metadata: ["member": "\(role.commonName(name))", "principal": "\(context.principal.name)"])
    return .json(
      .object([
        "certificate": .string(issued.certificate), "authority": .string(services.authority.pem),
        "validUntil": .string(issued.validUntil.description),
      ]), status: .created)
  }

  /// The secrets of a pod, for the node it is placed on.
  private func secrets(_ request: Request, _ context: AdminContext) async throws -> Response {
    let uid = try context.parameters.require("uid")
    guard case .node(let node) = context.principal else {
      throw APIStatus.forbidden("\(context.principal.name) may not read the secrets of pods; only their nodes may")
    }
    let secrets = try await services.secrets.secrets(ofPod: uid, node: node)
    return .json(
      .object(
        secrets.mapValues { keys in .object(keys.mapValues { .string(Data($0).base64EncodedString()) }) }))
  }
}
