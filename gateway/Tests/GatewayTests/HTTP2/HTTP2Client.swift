import ClusterAPI
import ClusterTestSupport
import Foundation
import NIOCore
import NIOHPACK
import NIOHTTP2
import NIOPosix
import NIOSSL
import Synchronization

/// A connection of HTTP/2 to a gateway under test. It checks nothing of what it sends.
final class HTTP2Client: Sendable {
  struct State {
    /// GOAWAY frames as they came: last stream and error code.
    var goAways: [(last: Int, code: Int)] = []
    var closed = false
  }

  let channel: any Channel
  let state: SharedState
  private let multiplexer: NIOHTTP2Handler.StreamMultiplexer

  final class SharedState: Sendable { let value = Mutex(State()) }

  private init(_ channel: any Channel, _ multiplexer: NIOHTTP2Handler.StreamMultiplexer, _ state: SharedState) {
    self.channel = channel
    self.multiplexer = multiplexer
    self.state = state
  }

  static func connect(port: Int, tls: NIOSSLContext? = nil) async throws -> HTTP2Client {
    let state = SharedState()
    let made = Mutex<NIOHTTP2Handler.StreamMultiplexer?>(nil)
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          if let tls { try pipeline.addHandler(NIOSSLClientHandler(context: tls, serverHostname: nil)) }
          var connection = NIOHTTP2Handler.ConnectionConfiguration()
          connection.headerBlockValidation = .disabled
          connection.contentLengthValidation = .disabled
          let frames = NIOHTTP2Handler(
            mode: .client, eventLoop: channel.eventLoop, connectionConfiguration: connection,
            streamConfiguration: .init(), inboundStreamInitializer: { $0.close() })
          try pipeline.addHandler(frames)
          try pipeline.addHandler(RootCollector(state: state))
          let multiplexer = try frames.syncMultiplexer()
          made.withLock { $0 = multiplexer }
        }
      }
      .connect(host: "127.0.0.1", port: port).get()
    guard let multiplexer = made.withLock({ $0 }) else { throw ChannelError.eof }
    return HTTP2Client(channel, multiplexer, state)
  }

  /// A new stream; `reads` is whether what comes is taken at once.
  func open(reads: Bool = true) async throws -> HTTP2TestStream {
    let inbox = StreamInbox()
    let stream = try await multiplexer.createStreamChannel { stream in
      stream.eventLoop.makeCompletedFuture {
        try stream.syncOptions?.setOption(.autoRead, value: reads)
        try stream.pipeline.syncOperations.addHandler(StreamCollector(inbox: inbox))
      }
    }.get()
    return HTTP2TestStream(channel: stream, inbox: inbox)
  }

  /// One request on a stream of its own.
  func request(
    _ method: String = "GET", _ path: String, _ fields: [(String, String)] = [], body: [UInt8]? = nil,
    trailers: [(String, String)]? = nil
  ) async throws -> StreamInbox.State {
    let stream = try await open()
    stream.head(method, path, fields, end: body == nil && trailers == nil)
    if let body { stream.data(body, end: trailers == nil) }
    if let trailers { stream.headers(trailers, end: true) }
    return await stream.result()
  }

  func close() async { try? await channel.close() }
}

/// One stream, by hand.
struct HTTP2TestStream: Sendable {
  let channel: any Channel
  let inbox: StreamInbox

  func head(_ method: String = "GET", _ path: String, _ fields: [(String, String)] = [], end: Bool) {
    headers(
      [(":method", method), (":scheme", "http"), (":path", path), (":authority", "gateway.test")] + fields, end: end)
  }

  func headers(_ list: [(String, String)], end: Bool) {
    channel.writeAndFlush(
      HTTP2Frame.FramePayload.headers(.init(headers: HPACKHeaders(list), endStream: end)), promise: nil)
  }

  func data(_ bytes: [UInt8], end: Bool, taken: (@Sendable () -> Void)? = nil) {
    let payload = HTTP2Frame.FramePayload.data(.init(data: .byteBuffer(ByteBuffer(bytes: bytes)), endStream: end))
    channel.writeAndFlush(payload).whenSuccess { taken?() }
  }

  func reset() { channel.writeAndFlush(HTTP2Frame.FramePayload.rstStream(.cancel), promise: nil) }

  /// What came until the stream was over.
  func result(within limit: Duration = .seconds(60)) async -> StreamInbox.State {
    _ = await eventually(within: limit) { inbox.state.withLock { $0.ended || $0.reset != nil || $0.closed } }
    return inbox.state.withLock { $0 }
  }
}

/// What came on a stream.
final class StreamInbox: Sendable {
  struct State {
    var status = 0
    var interim: [Int] = []
    var headers = HPACKHeaders()
    var body: [UInt8] = []
    /// When each part of the body came, nanoseconds.
    var times: [Int64] = []
    var trailers: HPACKHeaders?
    var ended = false
    var reset: Int?
    var closed = false

    var text: String { String(decoding: body, as: UTF8.self) }
    func header(_ name: String) -> String? { headers.first(name: name) }
  }

  let state = Mutex(State())
}

private final class StreamCollector: ChannelInboundHandler {
  typealias InboundIn = HTTP2Frame.FramePayload

  private let inbox: StreamInbox

  init(inbox: StreamInbox) { self.inbox = inbox }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let payload = unwrapInboundIn(data)
    inbox.state.withLock { state in
      switch payload {
      case .headers(let frame):
        let status = frame.headers.first(name: ":status").flatMap { Int($0) }
        if let status, status < 200 {
          state.interim.append(status)
        } else if let status {
          state.status = status
          state.headers = frame.headers
        } else {
          state.trailers = frame.headers
        }
        if frame.endStream { state.ended = true }
      case .data(let frame):
        if case .byteBuffer(let bytes) = frame.data { state.body.append(contentsOf: bytes.readableBytesView) }
        state.times.append(Int64(clamping: NIODeadline.now().uptimeNanoseconds))
        if frame.endStream { state.ended = true }
      case .rstStream(let code): state.reset = code.networkCode
      default: break
      }
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard let closed = error as? NIOHTTP2Errors.StreamClosed else { return }
    inbox.state.withLock { $0.reset = closed.errorCode.networkCode }
  }

  func channelInactive(context: ChannelHandlerContext) { inbox.state.withLock { $0.closed = true } }
}

private final class RootCollector: ChannelInboundHandler {
  typealias InboundIn = HTTP2Frame

  private let state: HTTP2Client.SharedState

  init(state: HTTP2Client.SharedState) { self.state = state }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard case .goAway(let last, let code, _) = unwrapInboundIn(data).payload else { return }
    state.value.withLock { $0.goAways.append((Int(last), code.networkCode)) }
  }

  func channelInactive(context: ChannelHandlerContext) {
    state.value.withLock { $0.closed = true }
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {}
}

/// A connection that sends bytes as they are, and keeps what comes.
final class ByteClient: Sendable {
  let channel: any Channel
  private let inbox: ByteInbox

  private final class ByteInbox: Sendable { let state = Mutex<(bytes: [UInt8], closed: Bool)>(([], false)) }

  private final class Collector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    let inbox: ByteInbox
    init(_ inbox: ByteInbox) { self.inbox = inbox }
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      let part = unwrapInboundIn(data)
      inbox.state.withLock { $0.bytes.append(contentsOf: part.readableBytesView) }
    }
    func channelInactive(context: ChannelHandlerContext) { inbox.state.withLock { $0.closed = true } }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }

  init(port: Int) async throws {
    let inbox = ByteInbox()
    self.inbox = inbox
    channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .channelOption(.tcpOption(.tcp_nodelay), value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Collector(inbox)) }
      }
      .connect(host: "127.0.0.1", port: port).get()
  }

  func send(_ bytes: [UInt8]) async { try? await channel.writeAndFlush(ByteBuffer(bytes: bytes)) }

  var bytes: [UInt8] { inbox.state.withLock { $0.bytes } }
  var closed: Bool { inbox.state.withLock { $0.closed } }

  /// The frames that came, whole ones.
  var frames: [RawFrame] { RawFrame.all(in: bytes) }

  func close() async { try? await channel.close() }
}

/// A frame as bytes (RFC 9113, 4.1).
struct RawFrame: Sendable {
  static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
  static let settings = RawFrame(type: 4, flags: 0, stream: 0, payload: [])

  var type: UInt8
  var flags: UInt8
  var stream: Int
  var payload: [UInt8]

  var bytes: [UInt8] {
    [UInt8(payload.count >> 16 & 255), UInt8(payload.count >> 8 & 255), UInt8(payload.count & 255), type, flags]
      + (0..<4).map { UInt8(stream >> (24 - 8 * $0) & 255) } + payload
  }

  /// A GET of a path, END_HEADERS and END_STREAM; no dynamic table, no Huffman code.
  static func get(_ path: String, stream: Int) -> RawFrame {
    func field(_ index: UInt8, _ value: String) -> [UInt8] { [index, UInt8(value.utf8.count)] + Array(value.utf8) }
    let list = [0x82, 0x86] + field(4, path) + field(1, "gateway.test")
    return RawFrame(type: 1, flags: 5, stream: stream, payload: list)
  }

  static func all(in bytes: [UInt8]) -> [RawFrame] {
    var frames: [RawFrame] = []
    var rest = bytes[...]
    while rest.count >= 9 {
      let head = Array(rest.prefix(9))
      let length = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
      guard rest.count >= 9 + length else { break }
      let stream = head[5...8].reduce(0) { $0 << 8 | Int($1) } & 0x7FFF_FFFF
      let payload = Array(rest.dropFirst(9).prefix(length))
      frames.append(RawFrame(type: head[3], flags: head[4], stream: stream, payload: payload))
      rest = rest.dropFirst(9 + length)
    }
    return frames
  }

  /// The error code of a GOAWAY.
  var goAwayCode: Int? { type == 7 && payload.count >= 8 ? Int(payload[7]) : nil }
}

/// A count that grows from any thread.
final class Counter: Sendable {
  private let count = Mutex(0)
  var value: Int { count.withLock { $0 } }
  func add(_ more: Int) { count.withLock { $0 += more } }
}

/// Runs a gateway with one function and a connection of HTTP/2 to it.
func withHTTP2Client(
  _ route: FunctionRoute = makeRoute(concurrency: 200, max: 1),
  _ body: (FakePlatform, TestClients, HTTP2Client) async throws -> Void
) async throws {
  try await withGateway([route]) { (platform, _, clients) async throws in
    let client = try await HTTP2Client.connect(port: clients.port)
    try await body(platform, clients, client)
    await client.close()
  }
}
