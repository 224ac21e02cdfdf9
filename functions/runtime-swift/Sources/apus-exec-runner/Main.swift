import ApusFunction
import Glibc
import Programs

/// Runs an exec function in its pod: a process a call (the contract: functions/README.md).
@main
enum Main {
  static func main() {
    guard let text = ProcessEnvironment["APUS_COMMAND"], let command = CommandLineText.parse(text), !command.isEmpty
    else { stop("APUS_COMMAND must be a JSON list of texts, as in [\"./run.sh\"] (spec.command)") }
    guard let program = Program.find(command[0]) else {
      stop("command '\(command[0])' is no executable file: check spec.command and the file's x bit (chmod +x)")
    }
    let settings = ServerSettings.fromEnvironment()
    let runner = CommandRunner(program: program, arguments: command, environment: Program.environment())
    Server(settings: settings, frames: Frames(descriptor: settings.frames), runner: runner).serve()
    exit(0)
  }

  private static func stop(_ message: String) -> Never {
    let bytes = Array((message + "\n").utf8)
    _ = bytes.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
    exit(1)
  }
}
