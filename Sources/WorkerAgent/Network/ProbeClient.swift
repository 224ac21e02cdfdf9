import ClusterModel
import NIOCore
import NIOPosix

/// One HTTP check of a pod over its own socket: GET, and only the status line matters.
enum ProbeClient {
  /// Why the check failed, or nil when the pod answered 2xx or 3xx in time.
  static func check(_ probe: HTTPProbe, socket: String, _ group: any EventLoopGroup) async -> String? {
    let loop = group.next()
    let timeout = max(probe.timeout.milliseconds, 1)
    let answer = loop.makePromise(of: Int.self)
    let deadline = loop.scheduleTask(in: .milliseconds(timeout)) { answer.fail(DeadlinePassed()) }
    ClientBootstrap(group: loop)
      .connectTimeout(.milliseconds(timeout))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(StatusHandler(path: probe.path, answer: answer))
        }
      }
      .connect(unixDomainSocketPath: socket)
      .whenComplete { result in
        switch result {
        case .success(let channel): answer.futureResult.whenComplete { _ in channel.close(promise: nil) }
        case .failure(let error): answer.fail(error)
        }
      }
    defer { deadline.cancel() }
    do {
      let status = try await answer.futureResult.get()
      return (200..<400).contains(status) ? nil : "status \(status)"
    } catch is DeadlinePassed {
      return "no answer within \(probe.timeout)"
    } catch {
      return "\(error)"
    }
  }

  /// Sends the request and reads the first line of the answer.
  private final class StatusHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    static let lineMaximum = 1024

    private let path: String
    private let answer: EventLoopPromise<Int>
    private var bytes: [UInt8] = []

    init(path: String, answer: EventLoopPromise<Int>) {
      self.path = path
      self.answer = answer
    }

    func channelActive(context: ChannelHandlerContext) {
      let request = "GET \(path) HTTP/1.1\r\nHost: probe\r\nUser-Agent: apus-probe\r\nConnection: close\r\n\r\n"
      context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: request)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      bytes.append(contentsOf: unwrapInboundIn(data).readableBytesView.prefix(Self.lineMaximum))
      guard let end = bytes.firstIndex(of: 10) else {
        if bytes.count >= Self.lineMaximum { answer.fail(WorkerError.failed("the answer is not HTTP")) }
        return
      }
      let words = String(decoding: bytes[..<end], as: UTF8.self).split(separator: " ")
      if words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1].prefix(3)) {
        answer.succeed(status)
      } else {
        answer.fail(WorkerError.failed("the answer is not HTTP"))
      }
    }

    func channelInactive(context: ChannelHandlerContext) {
      answer.fail(WorkerError.failed("the connection ended without an answer"))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
      answer.fail(error)
      context.close(promise: nil)
    }
  }
}
