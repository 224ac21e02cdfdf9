import ArgumentParser

/// `apus completion SHELL`.
struct Completion: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Print the completion script for a shell.",
    discussion: """
      Example:
        apus completion bash > /etc/bash_completion.d/apus
        apus completion zsh > "${fpath[1]}/_apus"
        apus completion fish > ~/.config/fish/completions/apus.fish
      """)

  /// A shell that completion is made for.
  enum Shell: String, ExpressibleByArgument, CaseIterable {
    case bash, zsh, fish
  }

  @Argument(help: "bash, zsh or fish.") var shell: Shell

  func run() async throws {
    let script =
      switch shell {
      case .bash: Apus.completionScript(for: .bash)
      case .zsh: Apus.completionScript(for: .zsh)
      case .fish: Apus.completionScript(for: .fish)
      }
    Terminal.print(script)
  }
}
