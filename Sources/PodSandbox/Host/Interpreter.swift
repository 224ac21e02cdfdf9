import Glibc

/// A program of the host that functions run on.
package struct Interpreter: Sendable, Equatable {
  /// `python3`, `node` and so on.
  package var name: String
  /// Where it is; nil when it was not found or does not run.
  package var path: String?
  /// What it says its version is, for instance 3.11.2.
  package var version: String?

  /// Looks for /usr/bin/python3 and for node in the PATH. Runs each once with `--version`: blocks for some tens
  /// of milliseconds.
  package static func found() -> [Interpreter] {
    let path = getenv("PATH").map { String(cString: $0) } ?? RootPlanner.commandPath
    let node = ProgramRun.find("node", in: "\(path):\(RootPlanner.commandPath)")
    return [
      ask("python3", at: access("/usr/bin/python3", X_OK) == 0 ? "/usr/bin/python3" : nil),
      ask("node", at: node),
    ]
  }

  private static func ask(_ name: String, at path: String?) -> Interpreter {
    guard let path, let run = ProgramRun.run(path, ["--version"]), run.exitCode == 0 else {
      return Interpreter(name: name, path: nil, version: nil)
    }
    let version = run.output.drop { !$0.isNumber }.prefix { $0.isNumber || $0 == "." }
    return Interpreter(name: name, path: path, version: String(version))
  }

  /// The first number in "v20.20.2" or "Python 3.11.2".
  static func major(_ text: String) -> Int? {
    Int(text.drop { !$0.isNumber }.prefix { $0.isNumber })
  }
}
