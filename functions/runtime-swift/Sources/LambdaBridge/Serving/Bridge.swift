import ApusFunction
import Glibc
import Programs
import Synchronization

/// Runs a program made for AWS Lambda in its pod: the contract of functions/README.md on one side, the Runtime API on the
/// other.
package enum Bridge {
  /// How long a runtime has to end after the last call, milliseconds; Lambda gives it no more.
  static let stopMilliseconds = 500

  /// Why nothing can be run.
  package struct CannotStart: Error, CustomStringConvertible {
    /// What is wrong and what to do.
    package let description: String
  }

  /// Serves until SIGTERM or the runtime's end; answers the process's exit code.
  package static func run() throws(CannotStart) -> Int32 {
    var settings = ServerSettings.fromEnvironment()
    settings.saysReady = false
    for descriptor in [settings.listener, settings.frames, settings.control] { Sockets.closeOnExec(descriptor) }
    signal(SIGPIPE, SIG_IGN)
    let workers = settings.concurrency
    guard let listener = RuntimeListener(connectionsMaximum: 4 * workers + 16) else {
      throw CannotStart(description: "the pod's loopback gives no port: \(String(cString: strerror(errno)))")
    }
    let pod = variables()
    let folder = workingFolder()
    let environment = LambdaEnvironment(pod: pod, folder: folder, api: listener.address, workers: workers)
    let invocations = Invocations(workers: workers)
    let frames = Frames(descriptor: settings.frames)
    let process = RuntimeProcess(
      try start(LambdaCommand.find(pod, folder: folder), environment), invocations: invocations)
    let version = environment["AWS_LAMBDA_FUNCTION_VERSION"] ?? ""
    let control = settings.control
    let api = RuntimeAPI(
      invocations: invocations, frames: frames,
      function: (environment["AWS_LAMBDA_FUNCTION_NAME"] ?? "", version, environment["_HANDLER"] ?? ""),
      becameReady: { Server.sayReady(control) }, pump: { process.pump(endsCall: $0) },
      initFailed: { fault in
        CallOutput(frames: frames, call: "").record("error", "\(fault.type): \(fault.message)", fault.fields)
      })
    let ended = Ended()
    let hasThreads =
      process.follow { ending in
        ended.note(ending)
        if !invocations.end(ending.fault) { fail(ending) }
        Server.stop()
      } && listener.serve(api)
    guard hasThreads else { throw CannotStart(description: "the pod has no threads left: raise spec.resources.pids") }
    let identity = InvocationRequest.Identity(
      arn: environment.arn, timeout: pod["APUS_TIMEOUT_MS"].flatMap { Int($0) } ?? 30_000)
    let calls = FunctionCalls(invocations: invocations, identity: identity, version: version)
    Server(settings: settings, frames: frames, runner: calls).serve()
    if let ending = ended.ending { return ending.code }
    process.stop(within: stopMilliseconds)
    return 0
  }

  /// How the runtime ended, if it ended by itself.
  private final class Ended: Sendable {
    private let state = Mutex<RuntimeProcess.Ending?>(nil)
    var ending: RuntimeProcess.Ending? { state.withLock { $0 } }
    func note(_ ending: RuntimeProcess.Ending) { state.withLock { $0 = ending } }
  }

  private static func start(
    _ command: LambdaCommand?, _ environment: LambdaEnvironment
  ) throws(CannotStart) -> Program {
    guard let command else {
      throw CannotStart(
        description: "the package has no bootstrap: put one in, or name a program in spec.command")
    }
    guard let program = Program.find(command.arguments[0]) else {
      throw CannotStart(
        description:
          "'\(command.arguments[0])' is no executable file: check spec.command and the file's x bit (chmod +x)")
    }
    switch Program.start(path: program, arguments: command.arguments, environment: environment.entries) {
    case .success(let started): return started
    case .failure(let error):
      throw CannotStart(description: "'\(command.arguments[0])' could not be started: \(error)")
    }
  }

  /// The runtime ended before it asked for an invocation: the pod fails to start, at once.
  private static func fail(_ ending: RuntimeProcess.Ending) {
    let bytes = Array("\(ending.fault.message) before it asked for an invocation\n".utf8)
    _ = bytes.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
    exit(ending.code == 0 ? 1 : ending.code)
  }

  private static func variables() -> [String: String] {
    var found: [String: String] = [:]
    for entry in Program.environment()
      + [ProcessEnvironment["APUS_COMMAND"].map { "APUS_COMMAND=\($0)" }].compactMap(\.self)
    {
      guard let equals = entry.firstIndex(of: "=") else { continue }
      found[String(entry[..<equals])] = String(entry[entry.index(after: equals)...])
    }
    return found
  }

  private static func workingFolder() -> String {
    guard let path = getcwd(nil, 0) else { return "/function" }
    defer { free(path) }
    return String(cString: path)
  }
}

/// What starts a runtime.
package struct LambdaCommand: Equatable, Sendable {
  /// The program and its arguments.
  package let arguments: [String]

  /// `spec.command`; without one the package's `bootstrap`; without that Python's runtime client, if the package holds it
  /// and a handler is named.
  package static func find(_ pod: [String: String], folder: String) -> LambdaCommand? {
    if let text = pod["APUS_COMMAND"] {
      guard let words = CommandLineText.parse(text), !words.isEmpty else { return nil }
      return LambdaCommand(arguments: words)
    }
    if access("\(folder)/bootstrap", F_OK) == 0 { return LambdaCommand(arguments: ["\(folder)/bootstrap"]) }
    guard let handler = pod["_HANDLER"] ?? pod["APUS_HANDLER"] else { return nil }
    for place in ["vendor", "."] where access("\(folder)/\(place)/awslambdaric/__main__.py", F_OK) == 0 {
      return LambdaCommand(arguments: ["/usr/bin/python3", "-m", "awslambdaric", handler])
    }
    return nil
  }
}
