import ArgumentParser
import ClusterAPI
import ClusterModel
import Foundation

/// `apus secret set NAME`.
struct SecretSet: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "set", abstract: "Make a secret, or set keys of one; the others stay.",
    discussion: """
      Example:
        apus secret set db --from-stdin password < password.txt
        apus secret set tls --from-file key.pem=/etc/site/key.pem --from-env user=DB_USER
      """)

  @Argument(help: "The secret's name.") var name: String

  @Option(help: ArgumentHelp("A key whose value is a file's bytes.", valueName: "key=file"))
  var fromFile: [String] = []

  @Option(
    help: ArgumentHelp("A key whose value is an environment variable of this command.", valueName: "key=variable"))
  var fromEnv: [String] = []

  @Option(help: ArgumentHelp("A key whose value is standard input, without its last newline.", valueName: "key"))
  var fromStdin: String?

  @OptionGroup var namespace: NamespaceOption
  @OptionGroup var server: ServerOptions

  /// Bytes of one value at most; the whole object must stay within the API's bound.
  static let valueBytesMax = 512 * 1024

  func validate() throws {
    if fromFile.isEmpty, fromEnv.isEmpty, fromStdin == nil {
      throw ValidationError("no value was given; use --from-stdin KEY, --from-file KEY=FILE or --from-env KEY=VARIABLE")
    }
    if let problem = Schema.Rule.dnsLabel.check(name) { throw ValidationError(problem) }
  }

  func run() async throws {
    let values = try values()
    let cluster = try server.connect()
    let scope = namespace.namespace ?? cluster.namespace
    let data = JSONValue.object(values.mapValues { .string(Data($0).base64EncodedString()) })
    do {
      _ = try await cluster.resources.patch(
        .secret, namespace: scope, name: name, subresource: nil, patch: .object(["data": data]))
    } catch {
      guard error.code == 404 else { throw error }
      let object = JSONValue.object([
        "apiVersion": .string("v1"), "kind": .string("Secret"),
        "metadata": .object(["name": .string(name), "namespace": .string(scope)]), "data": data,
      ])
      _ = try await cluster.resources.create(.secret, namespace: scope, object: object)
    }
    let keys = values.keys.sorted().map { "\($0) (\(Figures.bytes(Int64(values[$0]?.count ?? 0))))" }
    Terminal.print("set        secret/\(name)  \(keys.joined(separator: ", "))")
  }

  private func values() throws(Failure) -> [String: [UInt8]] {
    var values: [String: [UInt8]] = [:]
    for pair in fromFile {
      let (key, path) = try Self.pair(pair, "--from-file")
      guard let data = FileManager.default.contents(atPath: path) else {
        throw Failure("\(path) cannot be read", next: "Give a file that this user may read.")
      }
      values[key] = Array(data)
    }
    for pair in fromEnv {
      let (key, variable) = try Self.pair(pair, "--from-env")
      guard let text = EnvironmentVariables[variable] else { throw Failure("$\(variable) is not set") }
      values[key] = Array(text.utf8)
    }
    if let key = fromStdin {
      var bytes = Array(FileHandle.standardInput.readDataToEndOfFile())
      if bytes.last == 10 { bytes.removeLast() }
      values[key] = bytes
    }
    for (key, value) in values where value.count > Self.valueBytesMax {
      throw Failure("the value of \(key) has \(Figures.bytes(Int64(value.count))); at most 512 KiB fit")
    }
    return values
  }

  static func pair(_ text: String, _ option: String) throws(Failure) -> (String, String) {
    guard let sign = text.firstIndex(of: "="), sign != text.startIndex else {
      throw .usage("\(option) takes KEY=…, not the value itself")
    }
    return (String(text[..<sign]), String(text[text.index(after: sign)...]))
  }
}
