import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// A pod made of a NIO server on a unix socket. What it does stands in the request's path.
final class FakePod: Sendable {
  struct Counts {
    var running = 0
    var mostRunning = 0
    var served = 0
    var connections = 0
    var cancelled = 0
    /// Bytes of `/big` that the gateway's connection took.
    var sent = 0
    /// Trailers of the last request that had some.
    var trailers: [(String, String)] = []
    var heads: [HTTPRequestHead] = []
  }

  let uid: String
  let revision: String
  let socket: String
  let counts = Mutex(Counts())
  private let group: any EventLoopGroup
  private let server: Mutex<(any Channel)?> = Mutex(nil)
  private let channels = Mutex<[ObjectIdentifier: any Channel]>([:])

  init(uid: String, revision: String, socket: String, group: any EventLoopGroup) {
    self.uid = uid
    self.revision = revision
    self.socket = socket
    self.group = group
  }

  /// Listens.
  func start() async throws {
    let channel = try await ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 256)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelInitializer { channel in
        self.track(channel)
        return channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          try pipeline.configureHTTPServerPipeline(
            withPipeliningAssistance: false, withErrorHandling: false, withOutboundHeaderValidation: false)
          try pipeline.addHandler(FakePodHandler(pod: self))
        }
      }
      .bind(unixDomainSocketPath: socket).get()
    server.withLock { $0 = channel }
  }

  /// Stops listening; open connections stay.
  func stopListening() async {
    let channel = server.withLock { $0.take() }
    try? await channel?.close()
    try? FileManager.default.removeItem(atPath: socket)
  }

  /// Dies: everything is closed at once.
  func kill() async {
    await stopListening()
    for channel in channels.withLock({ Array($0.values) }) { channel.close(promise: nil) }
  }

  private func track(_ channel: any Channel) {
    counts.withLock { $0.connections += 1 }
    let id = ObjectIdentifier(channel)
    channels.withLock { $0[id] = channel }
    channel.closeFuture.whenComplete { _ in self.channels.withLock { $0[id] = nil } }
  }

  func began(_ head: HTTPRequestHead) {
    counts.withLock {
      $0.running += 1
      $0.mostRunning = max($0.mostRunning, $0.running)
      if $0.heads.count < 200 { $0.heads.append(head) }
    }
  }

  func ended(cancelled: Bool) {
    counts.withLock {
      $0.running -= 1
      if cancelled { $0.cancelled += 1 } else { $0.served += 1 }
    }
  }
}

/// Serves one connection of a fake pod.
final class FakePodHandler: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let pod: FakePod
  private var head: HTTPRequestHead?
  private var body = ByteBuffer()
  private var running = false
  private var stubborn = false

  init(pod: FakePod) { self.pod = pod }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      self.head = head
      body.clear()
      running = true
      pod.began(head)
      begin(head, context)
    case .body(var part):
      if head?.uri.hasPrefix("/stream") == true {
        context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(part))), promise: nil)
      } else {
        body.writeBuffer(&part)
      }
    case .end(let trailers):
      if let trailers { pod.counts.withLock { $0.trailers = trailers.map { ($0.name, $0.value) } } }
      if let head { finish(head, context) }
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    // The gateway gave the call up: a good pod stops working and closes.
    if case .inputClosed? = event as? ChannelEvent, !stubborn { context.close(promise: nil) }
  }

  func channelInactive(context: ChannelHandlerContext) { end(cancelled: true) }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func end(cancelled: Bool) {
    guard running else { return }
    running = false
    pod.ended(cancelled: cancelled)
  }

  private func begin(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    if head.uri.hasPrefix("/stream") { writeHead(context, [("transfer-encoding", "chunked")]) }
    if head.uri.hasPrefix("/early") {
      writeHead(context, [("content-length", "5")], status: .payloadTooLarge)
      context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: "early")))), promise: nil)
      context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
      end(cancelled: false)
    }
    if head.uri.hasPrefix("/crash-on-head") { context.close(promise: nil) }
  }

  private func finish(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    // Where the path is not the caller's to choose, a field says what to do.
    let path = head.headers.first(name: "x-fake").map { $0[...] } ?? head.uri.split(separator: "?")[0]
    switch path {
    case "/die": context.close(promise: nil)
    case "/die-in-answer":
      writeHead(context, [("content-length", "100")])
      context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: "half"))))).assumeIsolated()
        .whenComplete { _ in context.close(promise: nil) }
    case "/garbage":
      // Past the encoder, straight to the socket.
      let raw = IOData.byteBuffer(ByteBuffer(string: "SMTP ready\r\n\r\n"))
      let encoder = try? context.pipeline.syncOperations.context(handlerType: HTTPResponseEncoder.self)
      encoder?.writeAndFlush(NIOAny(raw), promise: nil)
    case "/hang": break
    case "/stubborn": stubborn = true
    case "/stream": complete(context)
    case "/early": break
    case "/sleep":
      let query = head.uri.split(separator: "=").last.flatMap { Int64($0) } ?? 0
      context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(query)) { [self] in
        if context.channel.isActive { echo(head, context) }
      }
    case "/chunked":
      writeHead(context, [("transfer-encoding", "chunked")])
      for part in ["one,", "two,", "three"] {
        context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: part)))), promise: nil)
      }
      complete(context)
    case "/trailers":
      writeHead(context, [("transfer-encoding", "chunked")])
      context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
      end(cancelled: false)
      context.writeAndFlush(wrapOutboundOut(.end(["x-sum": "42", "x-last": "yes"])), promise: nil)
    case "/large-head":
      let count = head.uri.split(separator: "=").last.flatMap { Int($0) } ?? 0
      writeHead(context, [("content-length", "0"), ("x-large", String(repeating: "\\", count: count))])
      complete(context)
    case "/events":
      writeHead(context, [("transfer-encoding", "chunked"), ("content-type", "text/event-stream")])
      event(1, context)
    case "/stall":
      // Begins an answer and never goes on.
      writeHead(context, [("content-length", "100")])
      context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: "begun")))), promise: nil)
    case "/big":
      writeHead(context, [("content-length", String(Self.bigBytes))])
      big(Self.bigBytes, context)
    case "/fails":
      writeHead(
        context, [("content-length", "4"), ("x-function-error", "Oops"), ("x-amz-executed-version", "lie")],
        status: .internalServerError)
      context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: "fail")))), promise: nil)
      complete(context)
    case "/no-content":
      writeHead(context, [], status: .noContent)
      complete(context)
    case "/large":
      writeHead(context, [("content-length", "8000000")])
      let bytes = ByteBuffer(repeating: UInt8(ascii: "l"), count: 8_000_000)
      context.write(wrapOutboundOut(.body(.byteBuffer(bytes))), promise: nil)
      complete(context)
    case "/upgrade-burst":
      // The 101 and what follows it in one go: more than one read of the other side.
      let raw = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: burst\r\n\r\n"
      var bytes = ByteBuffer(string: raw)
      for number in 0..<10_000 { bytes.writeString("\(100_000 + number)...\n") }
      let encoder = try? context.pipeline.syncOperations.context(handlerType: HTTPResponseEncoder.self)
      encoder?.writeAndFlush(NIOAny(IOData.byteBuffer(bytes)), promise: nil)
      context.eventLoop.assumeIsolated().execute { self.becomeEcho(context) }
    case "/unasked-upgrade":
      writeHead(context, [("connection", "upgrade"), ("upgrade", "x")], status: .switchingProtocols)
      context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    case "/upgrade":
      writeHead(context, [("connection", "upgrade"), ("upgrade", "echo")], status: .switchingProtocols)
      context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
      context.eventLoop.assumeIsolated().execute { self.becomeEcho(context) }
    default: echo(head, context)
    }
  }

  static let bigBytes = 16 << 20
  /// Events of `/events`, and the milliseconds between two.
  static let events = (count: 40, pause: Int64(50))

  private func event(_ number: Int, _ context: ChannelHandlerContext) {
    guard context.channel.isActive else { return }
    let text = "data: \(number) \(NIODeadline.now().uptimeNanoseconds)\n\n"
    context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: text)))), promise: nil)
    guard number < Self.events.count else { return complete(context) }
    context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(Self.events.pause)) { [self] in
      event(number + 1, context)
    }
  }

  private func big(_ left: Int, _ context: ChannelHandlerContext) {
    guard left > 0 else { return complete(context) }
    let part = ByteBuffer(repeating: 98, count: min(left, 64 * 1024))
    context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(part)))).assumeIsolated().whenSuccess { [self] in
      pod.counts.withLock { $0.sent += part.readableBytes }
      big(left - part.readableBytes, context)
    }
  }

  private func becomeEcho(_ context: ChannelHandlerContext) {
    let pipeline = context.pipeline.syncOperations
    do {
      try pipeline.addHandler(EchoBytes(closed: { [self] in end(cancelled: false) }))
      pipeline.removeHandler(self, promise: nil)
      // The encoder first: what the decoder still holds is echoed on its way out.
      pipeline.removeHandler(try pipeline.handler(type: HTTPResponseEncoder.self), promise: nil)
      let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
      pipeline.removeHandler(decoder, promise: nil)
    } catch {
      context.close(promise: nil)
    }
  }

  private func echo(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    let length = head.method == .HEAD ? 5 : body.readableBytes
    writeHead(context, [("content-length", String(length)), ("x-path", head.uri), ("x-method", head.method.rawValue)])
    if head.method != .HEAD { context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil) }
    complete(context)
  }

  private func writeHead(
    _ context: ChannelHandlerContext, _ fields: [(String, String)], status: HTTPResponseStatus = .ok
  ) {
    var headers = HTTPHeaders(fields)
    headers.add(name: "x-pod", value: pod.uid)
    headers.add(name: "x-revision", value: pod.revision)
    headers.add(name: "x-apus-error", value: "forged")
    context.write(wrapOutboundOut(.head(.init(version: .http1_1, status: status, headers: headers))), promise: nil)
  }

  private func complete(_ context: ChannelHandlerContext) {
    end(cancelled: false)
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
  }
}

/// What a fake pod speaks after an upgrade.
private final class EchoBytes: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let closed: () -> Void

  init(closed: @escaping () -> Void) { self.closed = closed }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    context.writeAndFlush(data, promise: nil)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case .inputClosed? = event as? ChannelEvent { context.close(promise: nil) }
  }

  func channelInactive(context: ChannelHandlerContext) { closed() }
}
