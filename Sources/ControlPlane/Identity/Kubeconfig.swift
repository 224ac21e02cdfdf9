internal import Foundation
internal import HTTPService

/// The file that tells kubectl and `apus` where the server is and who they are.
///
/// Written by hand, so that it stays readable; only what this type writes (or kubectl after it) is read back.
package struct Kubeconfig: Sendable, Hashable {
  /// `https://HOST:PORT` of the API.
  package var server: String
  /// The authority's certificate, PEM.
  package var authority: String
  /// The admin's bearer token.
  package var token: String
  /// The gateway's URL; nil when it is not known.
  package var gateway: String?
  /// The namespace that commands work in when none is said; `kubectl config set-context --current --namespace` changes it.
  package var namespace: String

  /// A file's content.
  package init(server: String, authority: String, token: String, gateway: String?, namespace: String = "default") {
    self.server = server
    self.authority = authority
    self.token = token
    self.gateway = gateway
    self.namespace = namespace
  }

  /// The YAML text.
  package var text: String {
    let gatewayLines =
      gateway.map { "    extensions:\n    - name: apus.dev\n      extension:\n        gateway: \(Self.quote($0))\n" }
      ?? ""
    return """
      apiVersion: v1
      kind: Config
      current-context: apus
      clusters:
      - name: apus
        cluster:
          server: \(Self.quote(server))
          certificate-authority-data: \(Data(authority.utf8).base64EncodedString())
      \(gatewayLines)users:
      - name: apus-admin
        user:
          token: \(Self.quote(token))
      contexts:
      - name: apus
        context:
          cluster: apus
          user: apus-admin
          namespace: \(Self.quote(namespace))

      """
  }

  /// Reads the text; throws a `KubeconfigError` that names what is missing.
  package init(text: String) throws(KubeconfigError) {
    let values = Self.values(text)
    guard let server = values["server"] else { throw KubeconfigError(description: "it has no server:") }
    guard let data = values["certificate-authority-data"].flatMap({ Data(base64Encoded: $0) }) else {
      throw KubeconfigError(description: "it has no certificate-authority-data: in base64")
    }
    guard let token = values["token"] else { throw KubeconfigError(description: "it has no token:") }
    self.init(
      server: server, authority: String(decoding: data, as: UTF8.self), token: token, gateway: values["gateway"],
      namespace: values["namespace"] ?? "default")
  }

  /// Reads a file; nil when there is none, a `KubeconfigError` that names it when it cannot be used.
  package static func read(from path: String) throws -> Kubeconfig? {
    guard let text = try PrivateFile.read(path) else { return nil }
    do {
      return try Kubeconfig(text: text)
    } catch {
      throw KubeconfigError(description: "\(path) cannot be used: \(error.description); apus login writes a new one")
    }
  }

  /// Writes the file, readable by its owner only, so that a crash leaves the old file or the new one.
  package func write(to path: String) throws { try PrivateFile.write(Array(text.utf8), to: path) }

  /// The first value of each key, wherever it stands.
  private static func values(_ text: String) -> [String: String] {
    var values: [String: String] = [:]
    for line in text.split(whereSeparator: \.isNewline) {
      guard let colon = line.firstIndex(of: ":") else { continue }
      let key = line[..<colon].trimmingCharacters(in: CharacterSet(charactersIn: " -\t\""))
      var value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
      if value.count >= 2, let quote = value.first, quote == value.last, quote == "\"" || quote == "'" {
        value = String(value.dropFirst().dropLast())
      }
      if !value.isEmpty, values[key] == nil { values[key] = value }
    }
    return values
  }

  private static func quote(_ text: String) -> String {
    "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
  }
}

/// A kubeconfig that cannot be used.
package struct KubeconfigError: Error, CustomStringConvertible {
  /// What is wrong.
  package let description: String
}
