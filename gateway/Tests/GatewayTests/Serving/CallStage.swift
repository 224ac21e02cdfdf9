import ClusterAPI
import ClusterModel
import Logging
import NIOCore
import NIOEmbedded
import Planning
import Testing

@testable import Gateway

/// A client that only listens.
final class RecordingClient: CallClient {
  var errors: [CallErrorCode] = []
  var answers: [String] = []
  var ended = 0
  var aborted = 0
  var messages: [String] = []
  var deadlines: [Int64] = []

  var clientIsWritable = true
  func closeAfterAnswer() {}
  func answer(_ bytes: ByteBuffer) { answers.append(String(buffer: bytes)) }
  func answerEnd(_ bytes: ByteBuffer, at now: Int64) {
    answers.append(String(buffer: bytes))
    ended += 1
  }
  func flushAnswer() {}
  func answer(error code: CallErrorCode, message: String, component: String, record: CallRecord) {
    errors.append(code)
    messages.append(message)
  }
  func abortAnswer() { aborted += 1 }
  func sendContinue() {}
  func readMore() {}
  func setDeadline(_ deadline: Int64) { deadlines.append(deadline) }
  func tunnel(to upstream: UpstreamConnection, lease: Lease) {}
}

/// A socket whose peer is gone: what is written fails and the connection closes.
final class DeadSocket: ChannelOutboundHandler {
  typealias OutboundIn = Any

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    promise?.fail(IOError(errnoCode: 32, reason: "write"))
  }

  func flush(context: ChannelHandlerContext) { context.close(promise: nil) }
}

/// A socket that can be closed for writing only, which the embedded channel cannot.
final class HalfClosable: ChannelOutboundHandler {
  typealias OutboundIn = Any

  func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
    if mode == .output { promise?.succeed(()) } else { context.close(mode: mode, promise: promise) }
  }
}

struct NoEffects: DispatchEffects {
  func want(_ dispatcher: FunctionDispatcher, revision: String, pods: Int, reason: String) {}
  func podIdle(_ dispatcher: FunctionDispatcher, uid: String, _ why: PodRelease) {}
  func retire(_ key: PodKey, abort: Bool) {}
}

/// One call over one pooled connection, everything on an embedded loop.
struct CallStage {
  let loop = EmbeddedEventLoop()
  let client = RecordingClient()
  let dispatcher: FunctionDispatcher
  let pool: UpstreamPool
  let call: Call
  let channel: EmbeddedChannel
  let connection: UpstreamConnection

  init(deadSocket: Bool, idempotent: Bool = false) throws {
    try self.init(deadSocket: deadSocket, makeRoute(idempotent: idempotent))
  }

  init(deadSocket: Bool = false, _ route: FunctionRoute) throws {
    let metrics = GatewayMetrics()
    let dispatcher = FunctionDispatcher(route: route, policy: .init(), effects: NoEffects(), timerLoop: loop)
    self.dispatcher = dispatcher
    pool = UpstreamPool(eventLoop: loop, hostIdentity: "here", tls: { nil }, metrics: metrics)
    let services = GatewayServices(
      configuration: GatewayConfiguration(gatewayID: "g", hostIdentity: "here"),
      table: RouteTable(make: { _ in dispatcher }, releaseUnknown: { _ in }), metrics: metrics, accessLog: nil,
      logger: Logger(label: "test"))
    let gatewayLoop = GatewayLoop(eventLoop: loop, index: 0, pool: pool)
    let read = ReadHead(fields: ["host: h", "content-length: 4"], line: "POST /function/echo HTTP/1.1")
    read.bytes.withUnsafeBytes { bytes in
      guard case .function(let target) = FunctionTarget.parse(bytes, read.head.target) else { return }
      gatewayLoop.head.writeHead(
        read.head, read.lines, target, bytes, client: ClientAddress("127.0.0.1", isTLS: false), at: .now(),
        using: &gatewayLoop.random)
    }
    let request = CallRequest(
      info: dispatcher.info, framing: read.head.framing, arrived: monotonicNow(), arrivedAt: .now())
    call = gatewayLoop.makeCall(request, for: dispatcher, client: client, services: services)
    dispatcher.endpointChanged(makeEndpoint("a", .ready))
    connection = UpstreamConnection(start: try Self.start(of: dispatcher), concurrency: 1)
    connection.pool = pool
    channel = EmbeddedChannel(loop: loop)
    try channel.pipeline.syncOperations.addHandler(HalfClosable())
    if deadSocket { try channel.pipeline.syncOperations.addHandler(DeadSocket()) }
    try channel.pipeline.syncOperations.addHandler(connection)
    channel.connect(to: try SocketAddress(unixDomainSocketPath: "/x"), promise: nil)
    pool.release(connection, keep: true)
  }

  /// The start of the pod that is ready.
  private static func start(of dispatcher: FunctionDispatcher) throws -> PodStart {
    let (id, assignment) = try #require(dispatcher.reserve(now: monotonicNow()))
    _ = dispatcher.finish(id, suspect: false)
    return assignment.start
  }

  func send() {
    call.start()
    call.body(ByteBuffer(string: "body"))
    call.end(trailers: nil)
    call.flushUpstream()
    loop.run()
  }
}
