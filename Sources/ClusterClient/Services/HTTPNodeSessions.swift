internal import AsyncHTTPClient
package import ClusterAPI
internal import ClusterModel
internal import NIOCore
internal import NIOHTTP1
internal import Synchronization

/// A worker's session with the server: one stream of reports up, one of commands down.
///
/// The caller sends the heartbeats (`receive(.heartbeat)` every 500 ms) and, before leaving on purpose,
/// `receive(.goodbye)` and `closed(true)`. The commands end when either stream does; the caller then opens anew.
package struct HTTPNodeSessions: NodeSessions {
  /// Messages that may wait to be sent; one more ends the session.
  static let waitingMessagesMax = 16_384
  /// Commands that may wait for the worker; one more ends the session.
  static let waitingCommandsMax = 65_536
  /// How long opening may take; the server itself waits 5 s for the second stream.
  static let openPatience = Duration.seconds(10)
  /// How long a goodbye may take to arrive.
  static let goodbyePatience = Duration.seconds(1)

  private let client: APIClient
  private let lines = NodeLines()

  /// Sessions with the server behind a client, which must carry the node's certificate.
  package init(client: APIClient) { self.client = client }

  /// Opens a session; 503 when the server cannot be reached, 403 when the client is not this node.
  package func open(_ hello: WorkerHello) async throws(APIStatus) -> NodeSessionHandle {
    let base = "/internal/v1/nodes/\(APIRequest.escape(hello.name))"
    let upload = AsyncStream<ByteBuffer>.makeStream(bufferingPolicy: .bufferingOldest(Self.waitingMessagesMax))
    upload.continuation.yield(try Self.line(.hello(hello), lines))
    let session = HTTPNodeSession(upload: upload.continuation, lines: lines)
    session.startReports(client, base, .stream(upload.stream, length: .unknown))
    let opened: (HTTPClientResponse, ResponseLines)
    do {
      opened = try await session.openCommands(client, base, hello.session)
    } catch {
      session.end()
      throw session.reportsFailure ?? error
    }
    let epoch = opened.0.headers.first(name: "apus-session-epoch").flatMap { UInt64($0) } ?? 0
    return NodeSessionHandle(
      epoch: epoch, commands: session.readCommands(opened.1), receive: { session.send($0) },
      closed: { await session.close(clean: $0) })
  }

  /// A message as a line of JSON.
  static func line(_ message: WorkerMessage, _ lines: NodeLines) throws(APIStatus) -> ByteBuffer {
    do {
      var data = try lines.text(message)
      guard data.count <= NodeLines.bytesMax else {
        throw APIStatus.tooLarge("a worker's message of \(data.count) bytes; at most \(NodeLines.bytesMax) are allowed")
      }
      data.append(10)
      return ByteBuffer(bytes: data)
    } catch let status as APIStatus {
      throw status
    } catch {
      throw .internalError("a worker's message cannot be encoded: \(error)")
    }
  }
}

/// The two streams of one session and what ends them.
private final class HTTPNodeSession: Sendable {
  private struct State {
    var reports: Task<Void, Never>?
    var opening: Task<Result<(HTTPClientResponse, ResponseLines), APIStatus>, Never>?
    var reader: Task<Void, Never>?
    var failure: APIStatus?
    var ended = false
    /// A goodbye is on its way: who stops reading commands must not cut it off.
    var leaving = false
  }

  private let upload: AsyncStream<ByteBuffer>.Continuation
  private let lines: NodeLines
  private let state = Mutex(State())

  init(upload: AsyncStream<ByteBuffer>.Continuation, lines: NodeLines) {
    self.upload = upload
    self.lines = lines
  }

  /// Why the stream of reports failed, if it did.
  var reportsFailure: APIStatus? { state.withLock { $0.failure } }

  /// Starts the stream of reports; when it ends, the session does.
  func startReports(_ client: APIClient, _ base: String, _ body: HTTPClientRequest.Body) {
    let task = Task {
      do throws(APIStatus) {
        var request = APIRequest(
          method: .POST, path: "\(base)/reports", headers: [("content-type", "application/x-ndjson")],
          body: .stream(body), idempotent: false)
        request.patience = nil
        _ = try await client.bytes(request)
      } catch {
        state.withLock { if !$0.ended { $0.failure = error } }
      }
      end()
    }
    keep {
      $0.reports = task
    } orElse: {
      task.cancel()
    }
  }

  /// Asks for the stream of commands and waits for its head.
  func openCommands(
    _ client: APIClient, _ base: String, _ session: String
  ) async throws(APIStatus) -> (HTTPClientResponse, ResponseLines) {
    let task = Task<Result<(HTTPClientResponse, ResponseLines), APIStatus>, Never> {
      do throws(APIStatus) {
        var request = APIRequest.get("\(base)/commands", query: [("session", session)])
        request.patience = HTTPNodeSessions.openPatience
        request.idempotent = false
        return .success(try await client.lines(request, bound: NodeLines.bytesMax))
      } catch {
        return .failure(error)
      }
    }
    keep {
      $0.opening = task
    } orElse: {
      task.cancel()
    }
    let result = await withTaskCancellationHandler {
      await task.value
    } onCancel: {
      task.cancel()
    }
    return try result.get()
  }

  /// The commands as a stream that ends with the session.
  func readCommands(_ response: ResponseLines) -> AsyncStream<NodeCommand> {
    let (commands, sink) = AsyncStream<NodeCommand>.makeStream(
      bufferingPolicy: .bufferingOldest(HTTPNodeSessions.waitingCommandsMax))
    let task = Task {
      // An unreadable line, a broken connection and a full queue all end the session: the next one starts clean.
      while let line = try? await response.next() {
        guard let command = try? lines.command(line) else { break }
        if case .dropped = sink.yield(command) { break }
      }
      sink.finish()
      end()
    }
    keep {
      $0.reader = task
    } orElse: {
      task.cancel()
    }
    sink.onTermination = { _ in
      if !self.state.withLock({ $0.leaving }) { self.end() }
    }
    return commands
  }

  /// Sends a message; a full queue or an ended session drops it, and a full queue ends the session.
  func send(_ message: WorkerMessage) {
    guard let line = try? HTTPNodeSessions.line(message, lines) else { return end() }
    if message == .goodbye { state.withLock { $0.leaving = true } }
    if case .dropped = upload.yield(line) { end() }
  }

  /// Ends the session; after a goodbye it waits shortly for the server to take it.
  func close(clean: Bool) async {
    if clean {
      upload.finish()
      if let reports = state.withLock({ $0.reports }) {
        await withTaskGroup { group in
          group.addTask {
            try? await Task.sleep(for: HTTPNodeSessions.goodbyePatience)
            reports.cancel()
          }
          await reports.value
          group.cancelAll()
        }
      }
    }
    end()
  }

  /// Ends both streams, once.
  func end() {
    let tasks = state.withLock { state in
      state.ended = true
      defer { (state.reports, state.opening, state.reader) = (nil, nil, nil) }
      return (state.reports, state.opening, state.reader)
    }
    upload.finish()
    tasks.0?.cancel()
    tasks.1?.cancel()
    tasks.2?.cancel()
  }

  private func keep(_ change: (inout State) -> Void, orElse late: () -> Void) {
    let ended = state.withLock { state in
      if !state.ended { change(&state) }
      return state.ended
    }
    if ended { late() }
  }
}
