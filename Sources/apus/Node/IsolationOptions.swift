import ArgumentParser
import PodSandbox

/// How much isolation a worker insists on.
struct IsolationOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "full: run no pods on a host that lacks a guarantee of isolation; apus doctor lists them.", valueName: "level"),
    transform: { text in
      guard let level = IsolationLevel(rawValue: text) else {
        throw ValidationError("--require-isolation: \"\(text)\" is none; use any or full")
      }
      return level
    })
  var requireIsolation: IsolationLevel = .any

  /// Throws on a host that gives less than is asked for.
  func check() throws(Failure) {
    guard requireIsolation != .any, let (why, next) = HostCapabilities.probe().refusal(of: requireIsolation) else {
      return
    }
    throw Failure(why, next: "\(next). Or leave out --require-isolation full.")
  }

  /// The flags that hand these options on.
  var flags: [String] { requireIsolation == .any ? [] : ["--require-isolation", requireIsolation.rawValue] }
}
