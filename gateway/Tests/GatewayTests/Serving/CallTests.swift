import ClusterAPI
import ClusterModel
import Logging
import NIOCore
import NIOEmbedded
import Planning
import Testing

@testable import Gateway

/// A client that only listens.
private final class RecordingClient: CallClient {
  var errors: [CallErrorCode] = []
  var answers: [String] = []
  var ended = 0
  var aborted = 0

  let clientIsWritable = true
  func closeAfterAnswer() {}
  func answer(_ bytes: ByteBuffer) { answers.append(String(buffer: bytes)) }
  func answerEnd(_ bytes: ByteBuffer) {
    answers.append(String(buffer: bytes))
    ended += 1
  }
  func flushAnswer() {}
  func answer(error code: CallErrorCode, message: String, component: String, record: CallRecord) {
    errors.append(code)
  }
  func abortAnswer() { aborted += 1 }
  func sendContinue() {}
  func readMore() {}
  func setDeadline(_ deadline: Int64) {}
  func tunnel(to upstream: UpstreamConnection, lease: Lease) {}
}

/// A socket whose peer is gone: what is written fails and the connection closes.
private final class DeadSocket: ChannelOutboundHandler {
  typealias OutboundIn = Any

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    promise?.fail(IOError(errnoCode: 32, reason: "write"))
  }

  func flush(context: ChannelHandlerContext) { context.close(promise: nil) }
}

/// A socket that can be closed for writing only, which the embedded channel cannot.
private final class HalfClosable: ChannelOutboundHandler {
  typealias OutboundIn = Any

  func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
    if mode == .output { promise?.succeed(()) } else { context.close(mode: mode, promise: promise) }
  }
}

private struct NoEffects: DispatchEffects {
  func want(_ dispatcher: FunctionDispatcher, revision: String, pods: Int, reason: String) {}
  func podIdle(_ dispatcher: FunctionDispatcher, uid: String, _ why: PodRelease) {}
  func retire(_ key: PodKey, abort: Bool) {}
}

/// One call over one pooled connection, everything on an embedded loop.
private struct Stage {
  let loop = EmbeddedEventLoop()
  let client = RecordingClient()
  let dispatcher: FunctionDispatcher
  let pool: UpstreamPool
  let call: Call
  let channel: EmbeddedChannel
  let connection: UpstreamConnection

  init(deadSocket: Bool, idempotent: Bool = false) throws {
    let route = makeRoute(idempotent: idempotent)
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

@Suite struct CallTests {
  @Test func `a request of which no byte was taken waits for its next chance`() throws {
    let stage = try Stage(deadSocket: true)
    stage.send()
    #expect(stage.client.errors == [])
    #expect(stage.dispatcher.figures.queued == 1)
    #expect(stage.dispatcher.figures.inFlight == 0)
    #expect(stage.pool.idleCount(PodKey(uid: "a", incarnation: 1)) == 0)
  }

  @Test func `a request that was taken may have run, and is not sent again`() throws {
    let stage = try Stage(deadSocket: false)
    stage.send()
    #expect(stage.dispatcher.figures.inFlight == 1)
    stage.channel.close(promise: nil)
    stage.loop.run()
    #expect(stage.client.errors == [.podCrashed])
    #expect(stage.dispatcher.figures.queued == 0)
    #expect(stage.dispatcher.figures.inFlight == 0)
  }

  @Test func `an idempotent one is`() throws {
    let stage = try Stage(deadSocket: false, idempotent: true)
    stage.send()
    stage.channel.close(promise: nil)
    stage.loop.run()
    #expect(stage.client.errors == [])
    #expect(stage.dispatcher.figures.queued == 1)
  }

  @Test func `not after the first byte of the answer`() throws {
    let stage = try Stage(deadSocket: false, idempotent: true)
    stage.send()
    try stage.channel.writeInbound(ByteBuffer(string: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"))
    #expect(stage.client.answers.first?.hasPrefix("HTTP/1.1 200 OK\r\n") == true)
    stage.channel.close(promise: nil)
    stage.loop.run()
    #expect(stage.client.aborted == 1 && stage.client.ended == 0)
    #expect(stage.dispatcher.figures.queued == 0)
  }

  @Test func `an answered connection goes back to the pool with its slot`() throws {
    let stage = try Stage(deadSocket: false)
    stage.send()
    try stage.channel.writeInbound(ByteBuffer(string: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    stage.loop.run()
    #expect(stage.client.ended == 1 && stage.client.errors.isEmpty)
    #expect(stage.client.answers.first?.hasSuffix("\r\n\r\nok") == true)
    #expect(stage.dispatcher.figures.inFlight == 0)
    #expect(stage.pool.idleCount(PodKey(uid: "a", incarnation: 1)) == 1)
    stage.channel.close(promise: nil)
    stage.loop.run()
    #expect(stage.pool.idleCount(PodKey(uid: "a", incarnation: 1)) == 0)
  }

  @Test func `a start of a pod that takes nothing more has no idle connections, and none come back`() throws {
    let stage = try Stage(deadSocket: false)
    stage.pool.retire(PodKey(uid: "a", incarnation: 1), abort: false)
    stage.loop.run()
    #expect(!stage.channel.isActive)
    let busy = try Stage(deadSocket: false)
    busy.send()
    busy.dispatcher.endpointChanged(makeEndpoint("a", .draining))
    try busy.channel.writeInbound(ByteBuffer(string: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    busy.loop.run()
    #expect(busy.client.ended == 1)
    #expect(!busy.channel.isActive)
    #expect(busy.pool.idleCount(PodKey(uid: "a", incarnation: 1)) == 0)
  }

  @Test func `a slot stays taken while the pod holds an abandoned call`() throws {
    let stage = try Stage(deadSocket: false)
    stage.send()
    stage.call.timedOut()
    #expect(stage.client.errors == [.functionTimeout])
    #expect(stage.dispatcher.figures.inFlight == 1)
    stage.channel.close(promise: nil)
    stage.loop.run()
    #expect(stage.dispatcher.figures.inFlight == 0)
  }
}
