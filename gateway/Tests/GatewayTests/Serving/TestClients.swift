import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// An answer as a client got it.
struct Answer: Sendable {
  var status: Int
  var headers: HTTPHeaders
  var body: [UInt8]
  /// Whether it ended properly.
  var complete: Bool

  var text: String { String(decoding: body, as: UTF8.self) }
  func header(_ name: String) -> String? { headers.first(name: name) }
}

/// Connections to a gateway under test.
final class TestClients: Sendable {
  let port: Int
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)

  init(port: Int) { self.port = port }

  func shutdown() async { try? await group.shutdownGracefully() }

  /// A keep-alive HTTP connection.
  func connect() async throws -> TestConnection {
    let inbox = Inbox()
    let channel = try await ClientBootstrap(group: group)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          var framing = HTTPRequestEncoder.Configuration()
          framing.automaticallySetFramingHeaders = false
          try pipeline.addHandler(HTTPRequestEncoder(configuration: framing))
          try pipeline.addHandler(
            ByteToMessageHandler(
              HTTPResponseDecoder(leftOverBytesStrategy: .dropBytes, informationalResponseStrategy: .forward)))
          try pipeline.addHandler(AnswerCollector(inbox: inbox))
        }
      }
      .connect(host: "127.0.0.1", port: port).get()
    return TestConnection(channel: channel, inbox: inbox)
  }

  /// One request on a connection of its own.
  func request(
    _ method: HTTPMethod = .GET, _ uri: String, _ headers: [(String, String)] = [], body: [UInt8] = []
  ) async throws -> Answer {
    let connection = try await connect()
    let answer = try await connection.request(method, uri, headers, body: body)
    await connection.close()
    return answer
  }

  func bootstrap(_ inbox: RawInbox) -> ClientBootstrap {
    ClientBootstrap(group: group)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(RawCollector(inbox: inbox))
        }
      }
  }

  /// Sends bytes as they are; answers what came until the other side closed, or until `until` is in it.
  func raw(_ text: String, until: String? = nil, within: Duration = .seconds(20)) async throws -> (String, closed: Bool)
  {
    let inbox = RawInbox()
    let channel = try await bootstrap(inbox).connect(host: "127.0.0.1", port: port).get()
    // A gateway that closes before all was taken is fine.
    try? await channel.writeAndFlush(ByteBuffer(string: text))
    let clock = ContinuousClock()
    let end = clock.now.advanced(by: within)
    while clock.now < end {
      let (bytes, closed) = inbox.state.withLock { ($0.bytes, $0.closed) }
      let got = String(decoding: bytes, as: UTF8.self)
      if closed || until.map({ got.contains($0) }) ?? false { break }
      try await Task.sleep(for: .milliseconds(2))
    }
    let result = inbox.state.withLock { (String(decoding: $0.bytes, as: UTF8.self), $0.closed) }
    try? await channel.close()
    return (result.0, closed: result.1)
  }
}

/// A client that reads only when asked to, a little at a time.
final class SlowReader: Sendable {
  private let channel: any Channel
  private let inbox: RawInbox

  init(channel: any Channel, inbox: RawInbox) {
    self.channel = channel
    self.inbox = inbox
  }

  /// What came so far.
  var bytes: [UInt8] { inbox.state.withLock { $0.bytes } }

  /// Reads until the other side closed; answers how many bytes came.
  func readAll() async throws -> Int {
    while !inbox.state.withLock({ $0.closed }) {
      channel.read()
      try await Task.sleep(for: .microseconds(200))
    }
    return inbox.state.withLock { $0.bytes.count }
  }
}

extension TestClients {
  /// Sends a request and reads nothing of its answer yet.
  func slowReader(_ text: String) async throws -> SlowReader {
    let inbox = RawInbox()
    let channel = try await bootstrap(inbox)
      .channelOption(.autoRead, value: false)
      // A window of less than a segment would be opened by timers of 200 ms only.
      .channelOption(.socketOption(.so_rcvbuf), value: 256 * 1024)
      .connect(host: "127.0.0.1", port: port).get()
    try await channel.writeAndFlush(ByteBuffer(string: text))
    return SlowReader(channel: channel, inbox: inbox)
  }
}

/// One connection: a request after the other, or parts by hand.
struct TestConnection: Sendable {
  let channel: any Channel
  let inbox: Inbox

  func request(
    _ method: HTTPMethod = .GET, _ uri: String, _ headers: [(String, String)] = [], body: [UInt8] = []
  ) async throws -> Answer {
    var fields = headers
    if !body.isEmpty || method == .POST { fields.append(("content-length", String(body.count))) }
    // A gateway that answered and closed before it had everything is fine; the answer decides.
    try? await send(head: method, uri, fields)
    if !body.isEmpty { try? await send(body: body) }
    try? await sendEnd()
    return try await inbox.next()
  }

  func send(head method: HTTPMethod, _ uri: String, _ headers: [(String, String)] = []) async throws {
    let head = HTTPRequestHead(
      version: .http1_1, method: method, uri: uri, headers: HTTPHeaders([("host", "gateway.test")] + headers))
    try await channel.writeAndFlush(HTTPClientRequestPart.head(head))
  }

  func send(body: [UInt8]) async throws {
    try await channel.writeAndFlush(HTTPClientRequestPart.body(.byteBuffer(ByteBuffer(bytes: body))))
  }

  func sendEnd() async throws { try await channel.writeAndFlush(HTTPClientRequestPart.end(nil)) }

  func close() async { try? await channel.close() }
}

/// Answers in the order they came.
final class Inbox: Sendable {
  struct State {
    var answers: [Answer] = []
    var current: Answer?
    var waiters: [CheckedContinuation<Answer, any Error>] = []
    var closed = false
  }

  struct Closed: Error {}

  let state = Mutex(State())

  /// The next answer; throws when the connection closed without one.
  func next() async throws -> Answer {
    try await withCheckedThrowingContinuation { waiter in
      let ready: Result<Answer, any Error>? = state.withLock { state in
        if !state.answers.isEmpty { return .success(state.answers.removeFirst()) }
        if state.closed { return .failure(Closed()) }
        state.waiters.append(waiter)
        return nil
      }
      if let ready { waiter.resume(with: ready) }
    }
  }

  /// What came of the current answer so far.
  var partial: Answer? { state.withLock { $0.current } }

  func deliver(_ answer: Answer) {
    let waiter = state.withLock { state -> CheckedContinuation<Answer, any Error>? in
      if state.waiters.isEmpty {
        state.answers.append(answer)
        return nil
      }
      return state.waiters.removeFirst()
    }
    waiter?.resume(returning: answer)
  }

  func close() {
    let (cut, waiters) = state.withLock { state in
      defer {
        state.closed = true
        state.waiters = []
        state.current = nil
      }
      return (state.current, state.waiters)
    }
    var rest = waiters[...]
    if let cut {
      if let first = rest.popFirst() { first.resume(returning: cut) } else { state.withLock { $0.answers.append(cut) } }
    }
    for waiter in rest { waiter.resume(throwing: Closed()) }
  }
}

private final class AnswerCollector: ChannelInboundHandler {
  typealias InboundIn = HTTPClientResponsePart

  private let inbox: Inbox

  init(inbox: Inbox) { self.inbox = inbox }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head) where head.status == .continue:
      inbox.deliver(Answer(status: 100, headers: head.headers, body: [], complete: true))
    case .head(let head):
      let answer = Answer(status: Int(head.status.code), headers: head.headers, body: [], complete: false)
      inbox.state.withLock { $0.current = answer }
    case .body(let part): inbox.state.withLock { $0.current?.body.append(contentsOf: part.readableBytesView) }
    case .end:
      let answer = inbox.state.withLock { $0.current.take() }
      if var answer {
        answer.complete = true
        inbox.deliver(answer)
      }
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  func channelInactive(context: ChannelHandlerContext) { inbox.close() }
}

final class RawInbox: Sendable {
  let state = Mutex<(bytes: [UInt8], closed: Bool)>(([], false))
}

private final class RawCollector: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private let inbox: RawInbox

  init(inbox: RawInbox) { self.inbox = inbox }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let part = unwrapInboundIn(data)
    inbox.state.withLock { $0.bytes.append(contentsOf: part.readableBytesView) }
  }

  func channelInactive(context: ChannelHandlerContext) { inbox.state.withLock { $0.closed = true } }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
