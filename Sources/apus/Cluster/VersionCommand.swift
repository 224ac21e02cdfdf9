import ArgumentParser
import ClusterModel

/// `apus version`.
struct VersionCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "version", abstract: "Show the version of apus and of what it was built for.",
    discussion: "Example:\n  apus version -o json")

  @Option(name: .shortAndLong, help: "table, json or yaml.") var output: OutputFormat = .table

  func run() async throws {
    #if arch(x86_64)
      let architecture = "amd64"
    #elseif arch(arm64)
      let architecture = "arm64"
    #else
      let architecture = "other"
    #endif
    #if DEBUG
      let build = "debug"
    #else
      let build = "release"
    #endif
    guard output.structured else {
      return Terminal.print("apus \(Version.current) (\(build), linux/\(architecture))")
    }
    let document = JSONValue.object([
      "version": .string(Version.current), "build": .string(build), "platform": .string("linux/\(architecture)"),
    ])
    Terminal.emit(output.text(of: document))
  }
}
