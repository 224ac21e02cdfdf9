import NIOCore
import NIOHTTP2

/// A client's HTTP/2 connection as a whole: its streams, its time, and its end. What is said on a stream passes through
/// the stream's own channel, to a `ClientConnection` of its own.
///
/// Isolation: everything happens on the connection's event loop.
final class HTTP2Connection: ChannelInboundHandler {
  typealias InboundIn = HTTP2Frame
  typealias OutboundOut = HTTP2Frame

  private enum Phase {
    case open
    /// GOAWAY was sent, for any stream yet; the answer to a PING tells that the client knows.
    case leaving
    /// GOAWAY was sent with the last stream served; closed when those that are open end.
    case left
    /// Nothing is sent any more.
    case ending
    case closed
  }

  private let services: GatewayServices
  private let loop: GatewayLoop
  private var context: ChannelHandlerContext?
  private var phase = Phase.open
  private var streams: [ObjectIdentifier: ClientConnection] = [:]
  private var lastStream = HTTP2StreamID.rootStream
  private var faults = 0
  private var idleSince = monotonicNow()
  /// When the phase ends by itself, nanoseconds.
  private var phaseDue: Int64?
  private var timerAt: Int64?

  private init(services: GatewayServices, loop: GatewayLoop) {
    self.services = services
    self.loop = loop
  }

  /// Speaks HTTP/2 on a connection from now on; the connection is counted already.
  static func begin(
    on channel: any Channel, behind handler: ProtocolDetector, services: GatewayServices, loop: GatewayLoop
  ) throws {
    let connection = HTTP2Connection(services: services, loop: loop)
    let bound = NIOLoopBound(connection, eventLoop: channel.eventLoop)
    let frames = NIOHTTP2Handler(
      mode: .server, eventLoop: channel.eventLoop, connectionConfiguration: Self.connectionConfiguration,
      streamConfiguration: Self.streamConfiguration
    ) { stream in
      stream.eventLoop.makeCompletedFuture {
        let connection = bound.value
        let pipeline = stream.pipeline.syncOperations
        try pipeline.addHandler(HTTP2Stream(connection: connection))
        try pipeline.addHandler(
          ClientConnection(services: connection.services, loop: connection.loop, stream: connection))
      }
    }
    let pipeline = channel.pipeline.syncOperations
    try pipeline.addHandler(connection, position: .after(handler))
    try pipeline.addHandler(frames, position: .after(handler))
  }

  /// Bounds that the library keeps; header lists are checked by `StreamRequest` alone.
  private static let connectionConfiguration: NIOHTTP2Handler.ConnectionConfiguration = {
    var configuration = NIOHTTP2Handler.ConnectionConfiguration()
    configuration.initialSettings = [
      HTTP2Setting(parameter: .maxConcurrentStreams, value: GatewayLimits.streamsMax),
      HTTP2Setting(parameter: .maxHeaderListSize, value: GatewayLimits.headBytes),
    ]
    configuration.headerBlockValidation = .disabled
    configuration.contentLengthValidation = .disabled
    configuration.maximumSequentialEmptyDataFrames = GatewayLimits.emptyFrames
    configuration.maximumBufferedControlFrames = GatewayLimits.controlFramesHeld
    configuration.maximumSequentialContinuationFrames = GatewayLimits.continuationFrames
    configuration.maximumRecentlyResetStreams = 2 * GatewayLimits.streamsMax
    configuration.maximumConnectionGlitches = GatewayLimits.streamFaults
    configuration.targetWindowSize = GatewayLimits.connectionWindow
    configuration.controlFrameRateLimit.maximumCount = GatewayLimits.controlFrames
    configuration.controlFrameRateLimit.windowLength = .seconds(GatewayLimits.frameRateSeconds)
    return configuration
  }()

  private static let streamConfiguration: NIOHTTP2Handler.StreamConfiguration = {
    var configuration = NIOHTTP2Handler.StreamConfiguration()
    configuration.targetWindowSize = GatewayLimits.streamWindow
    configuration.outboundBufferSizeHighWatermark = GatewayLimits.streamWindow
    configuration.outboundBufferSizeLowWatermark = GatewayLimits.streamWindow / 2
    configuration.streamResetFrameRateLimit.maximumCount = GatewayLimits.streamResets
    configuration.streamResetFrameRateLimit.windowLength = .seconds(GatewayLimits.frameRateSeconds)
    configuration.streamErrorRateLimit.maximumCount = GatewayLimits.streamFaults
    configuration.streamErrorRateLimit.windowLength = .seconds(GatewayLimits.frameRateSeconds)
    return configuration
  }()

  // MARK: channel

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    loop.multiplexed[ObjectIdentifier(self)] = self
    armTimer(nextDue)
    // Between the detection and now the gateway may have begun to shut down.
    if services.isDraining { loop.eventLoop.assumeIsolated().execute { [weak self] in self?.drain() } }
    context.read()
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    closed()
    self.context = nil
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if case .ping(_, ack: true) = unwrapInboundIn(data).payload, case .leaving = phase { leave() }
  }

  // Streams are held back by their windows; the connection is always read, because frames that open windows come on it.
  func channelReadComplete(context: ChannelHandlerContext) { context.read() }

  func channelInactive(context: ChannelHandlerContext) { closed() }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // Faults of one stream; the library has reset it, and counts them.
    if error is NIOHTTP2Errors.StreamError || error is NIOHTTP2Errors.TrailersWithoutEndStream { return }
    // For the others it has sent GOAWAY.
    context.close(promise: nil)
  }

  private func closed() {
    if case .closed = phase { return }
    phase = .closed
    loop.multiplexed[ObjectIdentifier(self)] = nil
    services.clientDisconnected()
  }

  // MARK: streams

  /// A stream begins.
  func opened(_ stream: ClientConnection, _ channel: any Channel) {
    streams[ObjectIdentifier(stream)] = stream
    if let id = try? channel.syncOptions?.getOption(HTTP2StreamChannelOptions.streamID) { lastStream = id }
    armTimer(stream.nextDue)
  }

  /// A stream is over.
  func closed(_ stream: ClientConnection) {
    streams[ObjectIdentifier(stream)] = nil
    guard streams.isEmpty else { return }
    idleSince = monotonicNow()
    armTimer(nextDue)
    // Not from inside the writing of the stream's last frame.
    if case .left = phase { loop.eventLoop.assumeIsolated().execute { [weak self] in self?.endIfDone() } }
  }

  /// What came on a stream was malformed, and the stream was reset.
  func streamFaulted() {
    faults += 1
    guard faults > GatewayLimits.streamFaults, let context else { return }
    switch phase {
    case .open, .leaving, .left:
      phase = .ending
      send(.goAway(lastStreamID: lastStream, errorCode: .enhanceYourCalm, opaqueData: nil))
      loop.eventLoop.assumeIsolated().execute { context.close(promise: nil) }
    case .ending, .closed: break
    }
  }

  // MARK: the end

  /// No further streams, please: those that are open, or on their way, are served, then the connection closes.
  func drain() {
    guard case .open = phase else { return }
    phase = .leaving
    phaseDue = monotonicNow() &+ GatewayLimits.goAwayMilliseconds * 1_000_000
    context?.write(
      wrapOutboundOut(
        HTTP2Frame(
          streamID: .rootStream, payload: .goAway(lastStreamID: .maxID, errorCode: .noError, opaqueData: nil))),
      promise: nil)
    send(.ping(HTTP2PingData(), ack: false))
    armTimer(nextDue)
  }

  /// Closes now; streams that are open are cut.
  func stop() {
    switch phase {
    case .open, .leaving, .left:
      phase = .ending
      send(.goAway(lastStreamID: lastStream, errorCode: .noError, opaqueData: nil))
      context?.close(promise: nil)
    case .ending: context?.close(promise: nil)
    case .closed: break
    }
  }

  /// The client knows, or had the time to: what it opened until now is all.
  private func leave() {
    phase = .left
    phaseDue = nil
    if streams.isEmpty {
      endIfDone()
    } else {
      send(.goAway(lastStreamID: lastStream, errorCode: .noError, opaqueData: nil))
    }
  }

  private func endIfDone() {
    guard case .left = phase, streams.isEmpty, let context else { return }
    phase = .ending
    phaseDue = monotonicNow() &+ GatewayLimits.answerStallSeconds * 1_000_000_000
    armTimer(nextDue)
    // Behind everything that waits to be sent.
    let sent = context.eventLoop.makePromise(of: Void.self)
    sent.futureResult.assumeIsolated().whenComplete { [weak self] _ in
      guard let self, let context = self.context else { return }
      self.phaseDue = monotonicNow() &+ GatewayLimits.lingerMilliseconds * 1_000_000
      self.armTimer(self.nextDue)
      context.close(mode: .output, promise: nil)
    }
    send(.goAway(lastStreamID: lastStream, errorCode: .noError, opaqueData: nil), sent)
  }

  private func send(_ payload: HTTP2Frame.FramePayload, _ promise: EventLoopPromise<Void>? = nil) {
    guard let context else {
      promise?.fail(ChannelError.ioOnClosedChannel)
      return
    }
    context.writeAndFlush(wrapOutboundOut(HTTP2Frame(streamID: .rootStream, payload: payload)), promise: promise)
  }

  // MARK: time

  private var nextDue: Int64? {
    switch phase {
    case .open: streams.isEmpty ? idleSince &+ GatewayLimits.keepAliveSeconds * 1_000_000_000 : nil
    case .leaving, .left, .ending: phaseDue
    case .closed: nil
    }
  }

  /// One timer a connection, for its streams too: it is set anew only when something is due before it fires.
  func armTimer(_ due: Int64?) {
    guard let due, due < timerAt ?? .max, let context else { return }
    timerAt = due
    context.eventLoop.assumeIsolated().scheduleTask(deadline: .uptimeNanoseconds(UInt64(max(0, due)))) { [weak self] in
      guard let self, self.timerAt == due else { return }
      self.timerAt = nil
      self.checkTime(monotonicNow())
    }
  }

  private func checkTime(_ now: Int64) {
    if let due = nextDue, due <= now {
      switch phase {
      case .open: drain()
      case .leaving: leave()
      case .left, .closed: break
      case .ending: context?.close(promise: nil)
      }
    }
    for stream in Array(streams.values) {
      stream.checkTime(now)
      armTimer(stream.nextDue)
    }
    armTimer(nextDue)
  }
}
