import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import Logging
import NIOCore
import NIOEmbedded
import NIOHTTP1
import Planning
import Synchronization
import Testing

@testable import Gateway

/// Every bound on time: its code, and a message that names it.
@Suite struct TimeoutTests {
  private static let second: Int64 = 1_000_000_000

  private func body(_ answer: Answer) -> CallError? {
    try? JSONDecoder().decode(CallError.self, from: Data(answer.body))
  }

  // MARK: the pod's time

  @Test func `a pod that begins no answer in time is response_start_timeout, and its slot comes back`() async throws {
    let route = makeRoute(max: 1, responseStart: TimeSpan(milliseconds: 150))
    try await withGateway([route]) { (platform, gateway, clients) async throws in
      let late = try await clients.request(.GET, "/function/echo/hang")
      #expect(late.status == 504 && late.header("x-apus-error") == "response_start_timeout")
      let error = try #require(body(late))
      #expect(error.message.contains("spec.timeouts.responseStart") && error.message.contains("150ms"))
      #expect(error.message.contains("spec.timeout (30s)") && error.component.hasPrefix("pod "))
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
      #expect(
        gateway.metricsText().contains(
          #"apus_gateway_errors_total{function="default/echo",reason="response_start_timeout"} 1"#))
    }
  }

  @Test func `an answer that stops is cut, and the access record says idle_timeout`() async throws {
    let route = makeRoute(max: 1, responseIdle: TimeSpan(milliseconds: 150))
    try await withGateway([route]) { (platform, gateway, clients) async throws in
      let cut = try await clients.request(.GET, "/function/echo/stall")
      #expect(cut.status == 200 && !cut.complete && cut.text == "begun")
      #expect(try await clients.request(.GET, "/function/echo").status == 200)
      let told = await eventually {
        platform.state.withLock { $0.lines }.contains {
          let line = String(decoding: $0, as: UTF8.self)
          return line.contains(#""code":"idle_timeout""#) && line.contains("spec.timeouts.responseIdle")
        }
      }
      #expect(told)
      #expect(
        gateway.metricsText().contains(
          #"apus_gateway_errors_total{function="default/echo",reason="idle_timeout"} 1"#))
    }
  }

  @Test func `events that keep coming outlast the bound between two of them`() async throws {
    // 40 events, 50 ms apart: longer in all than either bound.
    let bound = TimeSpan(milliseconds: 1500)
    let route = makeRoute(timeout: .seconds(60), responseStart: bound, responseIdle: bound)
    try await withGateway([route]) { (_, _, clients) async throws in
      let answer = try await clients.request(.GET, "/function/echo/events")
      #expect(answer.complete && answer.text.components(separatedBy: "data: ").count == FakePodHandler.events.count + 1)
    }
  }

  @Test func `the time of an upload is not the pod's`() throws {
    let stage = try CallStage(makeRoute(responseStart: .seconds(1)))
    stage.call.start()
    stage.call.body(ByteBuffer(string: "bo"))
    stage.call.flushUpstream()
    stage.call.checkTime(monotonicNow() + 2 * Self.second)
    #expect(stage.client.errors == [])
    stage.call.body(ByteBuffer(string: "dy"))
    stage.call.end(trailers: nil)
    stage.call.checkTime(monotonicNow() + Self.second / 2)
    #expect(stage.client.errors == [])
    stage.call.checkTime(monotonicNow() + 2 * Self.second)
    #expect(stage.client.errors == [.responseStartTimeout])
  }

  @Test func `a piece of the answer, or a client that takes none, starts the idle time anew`() throws {
    let stage = try CallStage(makeRoute(responseIdle: .seconds(1)))
    stage.send()
    try stage.channel.writeInbound(ByteBuffer(string: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"))
    let first = stage.call.stageDue
    #expect(stage.client.deadlines.last == first)
    try stage.channel.writeInbound(ByteBuffer(string: "cd"))
    stage.call.checkTime(first)
    #expect(stage.client.aborted == 0)
    let second = stage.call.stageDue
    #expect(second > first && stage.client.deadlines.last == second)
    stage.client.clientIsWritable = false
    stage.call.checkTime(second + Self.second)
    #expect(stage.client.aborted == 0, "the client is to blame, not the pod")
    stage.client.clientIsWritable = true
    stage.call.checkTime(stage.call.stageDue)
    #expect(stage.client.aborted == 1)
  }

  @Test func `the whole call's time ends a stream however lively`() throws {
    let stage = try CallStage(makeRoute(timeout: .seconds(5), responseIdle: .seconds(1)))
    stage.send()
    try stage.channel.writeInbound(ByteBuffer(string: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"))
    stage.call.checkTime(stage.call.totalDue)
    #expect(stage.client.aborted == 1)
  }

  @Test func `a function without such bounds sets one deadline a call`() throws {
    let stage = try CallStage(makeRoute())
    stage.send()
    try stage.channel.writeInbound(ByteBuffer(string: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    #expect(stage.client.ended == 1 && stage.client.deadlines == [stage.call.totalDue])
  }

  // MARK: X-Timeout

  @Test(arguments: [
    ("250ms", 250), ("3s", 3000), ("1m30s", 90_000), ("3", 3000), ("0.5", 500), ("1.5s", 1500), ("9999h", 86_400_000),
  ])
  func `X-Timeout is a duration or seconds`(text: String, milliseconds: Int64) {
    let read = Array(text.utf8).withUnsafeBytes { CallTimeout.nanoseconds($0) }
    #expect(read == milliseconds * 1_000_000)
  }

  @Test(arguments: ["", "0", "0ms", "-1", "3 s", "soon", "1e3", ".", "5x", "0.1ms", String(repeating: "1", count: 40)])
  func `anything else is refused, and the answer names the header`(text: String) async throws {
    try await withGateway([makeRoute()]) { (platform, _, clients) async throws in
      for lead in ["/function", "/async-function"] {
        let answer = try await clients.request(.POST, "\(lead)/echo", [("x-timeout", text)])
        #expect(answer.status == 400 && answer.header("x-apus-error") == "bad_request", "\(lead)")
        #expect(answer.text.contains("X-Timeout"))
      }
      #expect(platform.state.withLock { $0.pods.isEmpty })
    }
  }

  @Test func `X-Timeout shortens the call and its deadline, is not forwarded, and never makes it longer`() async throws
  {
    try await withGateway([makeRoute(timeout: .seconds(20))]) { (platform, _, clients) async throws in
      func deadline(_ fields: [(String, String)]) async throws -> Int64 {
        let before = Timestamp.now().milliseconds
        #expect(try await clients.request(.GET, "/function/echo", fields).status == 200)
        let head = try #require(platform.pod("u1")?.counts.withLock { $0.heads.last })
        #expect(!head.headers.contains { $0.name.lowercased().replacing("_", with: "-") == "x-timeout" })
        return (head.headers["x-apus-deadline"].first.flatMap { Int64($0) } ?? 0) - before
      }
      let own = try await deadline([])
      #expect(own >= 20_000)
      #expect((7000..<20_000).contains(try await deadline([("X-Timeout", "7s")])))
      #expect(try await deadline([("x-timeout", "900s")]) >= 20_000, "it may only shorten")
      #expect(try await deadline([("x_timeout", "1s")]) >= 20_000)
      let late = try await clients.request(.GET, "/function/echo/hang", [("x-timeout", "0.2")])
      #expect(late.status == 504 && late.header("x-apus-error") == "function_timeout")
      let message = try #require(body(late)).message
      #expect(message.contains("X-Timeout (200ms)") && message.contains("spec.timeout is 20s"))
      let twice = try await clients.request(.GET, "/function/echo", [("x-timeout", "1s"), ("x-timeout", "2s")])
      #expect(twice.status == 400 && twice.text.contains("X-Timeout"))
    }
  }

  @Test func `X-Timeout counts the wait for a pod too`() async throws {
    try await withGateway([makeRoute()]) { (platform, gateway, clients) async throws in
      platform.state.withLock { $0.autoStart = false }
      let late = try await clients.request(.GET, "/function/echo", [("x-timeout", "200ms")])
      #expect(late.status == 504 && late.header("x-apus-error") == "function_timeout")
      #expect(try #require(body(late)).message.contains("while it waited for a pod"))
      #expect(gateway.metricsText().contains(#"apus_gateway_queue_depth{function="default/echo"} 0"#))
    }
  }

  @Test func `a call without X-Timeout names spec.timeout, one that waits spec.queue.timeout`() async throws {
    let short = TimeSpan(milliseconds: 150)
    try await withGateway([makeRoute(timeout: short)]) { (platform, _, clients) async throws in
      let late = try await clients.request(.GET, "/function/echo/hang")
      #expect(late.header("x-apus-error") == "function_timeout")
      #expect(try #require(body(late)).message.contains("spec.timeout (150ms)"))
    }
    try await withGateway([makeRoute(queueTimeout: short)]) { (platform, _, clients) async throws in
      platform.state.withLock { $0.autoStart = false }
      let late = try await clients.request(.GET, "/function/echo")
      #expect(late.status == 503 && late.header("x-apus-error") == "queue_timeout")
      #expect(try #require(body(late)).message.contains("150ms (spec.queue.timeout)"))
    }
  }

  // MARK: the client's time

  @Test func `a head that does not end is request_timeout`() throws {
    let stage = try ClientStage()
    try stage.send("GET /function/echo HTTP/1.1\r\nHost: h\r\nX-Slow: a")
    stage.client.checkTime(monotonicNow() + (GatewayLimits.headSeconds - 1) * Self.second)
    #expect(try stage.answer() == "")
    // Bytes that come do not move the bound: it counts from the first one.
    try stage.send("b")
    stage.client.checkTime(monotonicNow() + (GatewayLimits.headSeconds + 1) * Self.second)
    let answer = try stage.answer()
    #expect(answer.hasPrefix("HTTP/1.1 408 ") && answer.contains("X-Apus-Error: request_timeout"))
    #expect(answer.contains("headSeconds") && answer.contains("Connection: close"))
  }

  @Test func `a body that pauses is request_timeout, once somebody waits for it`() throws {
    let stage = try ClientStage()
    let request = "POST /async-function/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab"
    try stage.send(request)
    stage.client.checkTime(monotonicNow() + (GatewayLimits.bodyIdleSeconds + 1) * Self.second)
    let answer = try stage.answer()
    #expect(answer.hasPrefix("HTTP/1.1 408 ") && answer.contains("bodyIdleSeconds"))
  }

  @Test func `a call for later whose body trickles is ended all the same`() throws {
    let stage = try ClientStage()
    try stage.send("POST /async-function/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\n\r\n")
    let begun = monotonicNow()
    for step in 1...3 {
      stage.client.lastRead = begun + Int64(step) * 25 * Self.second
      stage.client.checkTime(begun + Int64(step) * 25 * Self.second)
      if step < 3 { #expect(try stage.answer() == "") }
    }
    let answer = try stage.answer()
    #expect(answer.hasPrefix("HTTP/1.1 408 ") && answer.contains("asyncBodySeconds"))
  }

  @Test func `a connection whose answers nobody takes begins nothing more when its time is over, and has an end`()
    throws
  {
    let stage = try ClientStage(takesAnswers: false)
    try stage.send("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
    let isAnswered = if case .idle = stage.client.phase { true } else { false }
    #expect(isAnswered)
    stage.client.checkTime(monotonicNow() + (GatewayLimits.keepAliveSeconds + 1) * Self.second)
    // A moment that is due and stays due would be found again and again, and nothing else on the loop.
    let ends = if case .lingering = stage.client.phase { true } else { false }
    #expect(ends && stage.channel.isActive)
    stage.client.checkTime(monotonicNow() + (GatewayLimits.answerStallSeconds + 1) * Self.second)
    #expect(!stage.channel.isActive)
  }
}

/// Holds what is written until the connection is closed.
private final class Dam: ChannelOutboundHandler {
  typealias OutboundIn = ByteBuffer

  private var promises: [EventLoopPromise<Void>] = []

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    if let promise { promises.append(promise) }
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    for promise in promises { promise.fail(ChannelError.ioOnClosedChannel) }
  }
}

/// One client's connection to a gateway without pods, on an embedded loop whose time the test passes by hand.
private struct ClientStage {
  private struct NoQueue: CallQueue {
    func enqueue(_ call: AsyncCall) async throws(APIStatus) {}
    func result(_ id: String, owner: String) async throws(APIStatus) -> CallDetail { throw .unavailable("none") }
  }

  let channel = EmbeddedChannel()
  let client: ClientConnection

  init(takesAnswers: Bool = true) throws {
    let loop = channel.embeddedEventLoop
    let table = RouteTable(
      make: { FunctionDispatcher(route: $0, policy: .init(), effects: NoEffects(), timerLoop: loop) },
      releaseUnknown: { _ in })
    table.apply(.snapshot(functions: [makeRoute()], endpoints: []))
    let services = GatewayServices(
      configuration: GatewayConfiguration(gatewayID: "g", hostIdentity: "here"), table: table,
      metrics: GatewayMetrics(), accessLog: nil, logger: Logger(label: "test"), calls: NoQueue())
    services.makeLoop(on: loop, index: 0, workerTLS: { nil })
    client = ClientConnection(services: services, loop: try #require(services.loop(on: loop)))
    try channel.pipeline.syncOperations.addHandler(HalfClosable())
    if !takesAnswers { try channel.pipeline.syncOperations.addHandler(Dam()) }
    try channel.pipeline.syncOperations.addHandler(client)
    channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1), promise: nil)
  }

  func send(_ text: String) throws { try channel.writeInbound(ByteBuffer(string: text)) }

  /// What was written to the client since the last look.
  func answer() throws -> String {
    var text = ""
    while let part = try channel.readOutbound(as: ByteBuffer.self) { text += String(buffer: part) }
    return text
  }
}
