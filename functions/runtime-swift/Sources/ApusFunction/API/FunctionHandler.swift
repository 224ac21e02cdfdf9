import Glibc

/// A function. The type with `@main` is the whole program:
///
/// ```swift
/// import ApusFunction
///
/// @main
/// struct Greet: FunctionHandler {
///   func handle(_ event: Event, _ context: Context) async throws -> Response {
///     context.log.info("greeting", ["name": .string(event.text)])
///     return "Hello, \(event.text)!"
///   }
/// }
/// ```
///
/// One value is made when the pod starts and serves every call; up to `spec.concurrency` calls at once, each on a
/// thread of its own, which a handler may block. An error that is thrown becomes a 500 and one error record; a trap
/// ends the pod. Nothing runs the main actor: do not use it.
public protocol FunctionHandler: Sendable {
  /// Makes the function ready; what it throws fails the start of the pod.
  init() async throws

  /// Answers one request.
  func handle(_ event: Event, _ context: Context) async throws -> Response
}

extension FunctionHandler {
  /// Runs the function in its pod; the entry point of an `@main` type.
  public static func main() { Apus.run(Self.self) }
}

/// The entry of a Swift function's program.
public enum Apus {
  /// Makes the function ready and serves its calls until SIGTERM; ends the process.
  public static func run<Handler: FunctionHandler>(_ type: Handler.Type) -> Never {
    let made = CallExecutor().run { () async -> Result<Handler, any Error> in
      do { return .success(try await Handler()) } catch { return .failure(error) }
    }
    switch made {
    case .failure(let error):
      plainError("\(type) could not be made ready: \(error)\n")
      exit(1)
    case .success(let handler):
      let settings = ServerSettings.fromEnvironment()
      Server(settings: settings, frames: Frames(descriptor: settings.frames), runner: HandlerRunner(handler)).serve()
      exit(0)
    }
  }

  private static func plainError(_ text: String) {
    let bytes = Array(text.utf8)
    _ = bytes.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
  }
}

/// Serves calls with a handler.
struct HandlerRunner<Handler: FunctionHandler>: CallRunner {
  let handler: Handler

  init(_ handler: Handler) { self.handler = handler }

  func run(_ call: Call) {
    let body: [UInt8]
    do throws(Call.BodyError) {
      body = try call.readBody()
    } catch {
      switch error {
      case .refused(let bad): return call.refuse(bad)
      case .gone: return call.cut()
      }
    }
    let event = Event(
      body: body, method: call.head.method, path: call.head.path, rawQuery: call.head.query, headers: call.head.headers)
    let (context, output, cancellation, handler) = (Context(call: call), call.output, call.cancellation, handler)
    let executor = CallExecutor()
    let result = executor.run {
      await CurrentCall.$output.withValue(output) { () async -> Result<Response, any Error> in
        do { return .success(try await handler.handle(event, context)) } catch { return .failure(error) }
      }
    } started: { cancel in
      cancellation.onCancel(cancel)
    }
    switch result {
    case .failure(let error): fail(call, error)
    case .success(let response): answer(call, response, executor)
    }
  }

  private func answer(_ call: Call, _ response: Response, _ executor: CallExecutor) {
    call.output.flush()
    do {
      switch response.body {
      case .bytes(let bytes):
        try call.answer(status: response.status, headers: response.headers, body: bytes)
      case .stream(let write):
        guard try call.beginStream(status: response.status, headers: response.headers) else { return call.cut() }
        guard call.streams else { return }
        let (writer, output) = (call.writer, call.output)
        let failure = executor.run {
          await CurrentCall.$output.withValue(output) { () async -> (any Error)? in
            do { try await write(writer) } catch { return error }
            return nil
          }
        }
        if let failure {
          call.cut()
          if !(failure is CancellationError) { fail(call, failure) }
        } else {
          call.finishStream()
        }
      }
    } catch {
      fail(call, error)
    }
  }

  private func fail(_ call: Call, _ error: any Error) {
    let kind = String(describing: type(of: error))
    call.fail(kind: kind, message: "\(kind): \(error)")
  }
}

/// The call whose code is running.
enum CurrentCall {
  @TaskLocal static var output: CallOutput?
}

/// Prints like Swift's own `print`; inside a call the lines are logged under the call's id.
public func print(_ items: Any..., separator: String = " ", terminator: String = "\n") {
  let text = items.map { "\($0)" }.joined(separator: separator) + terminator
  if let output = CurrentCall.output {
    output.write(text.utf8, to: .stdout)
  } else {
    let bytes = Array(text.utf8)
    _ = bytes.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
  }
}
