import ArgumentParser

/// `apus secret set|list|delete`.
struct SecretCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "secret",
    abstract: "Set, list and delete secrets; values never stand on a command line.",
    discussion: """
      A function names its secrets in spec.secrets; its pods read them as files under /var/openfaas/secrets/NAME/KEY.

      Example:
        apus secret set db --from-stdin password < password.txt
        apus secret list
        apus secret delete db
      """,
    subcommands: [SecretSet.self, SecretList.self, SecretDelete.self])
}
