/// How a registry wants to be asked: a `WWW-Authenticate` header.
enum RegistryChallenge: Hashable {
  /// Name and password with each request.
  case basic
  /// A token, to be had at `realm`.
  case bearer(realm: String, service: String?, scope: String?)

  /// Reads a header; nil for a scheme we do not know.
  init?(_ header: String) {
    let parts = header.split(separator: " ", maxSplits: 1)
    guard let scheme = parts.first?.lowercased() else { return nil }
    if scheme == "basic" {
      self = .basic
      return
    }
    let parameters = parts.count > 1 ? Self.parameters(String(parts[1])) : [:]
    guard scheme == "bearer", let realm = parameters["realm"] else { return nil }
    self = .bearer(realm: realm, service: parameters["service"], scope: parameters["scope"])
  }

  /// `name="value",name=value`; a comma inside quotes belongs to the value.
  private static func parameters(_ text: String) -> [String: String] {
    var found: [String: String] = [:]
    var rest = text[...]
    while let equals = rest.firstIndex(of: "=") {
      let name = rest[..<equals].drop { $0 == " " || $0 == "," }.lowercased()
      rest = rest[rest.index(after: equals)...]
      var value = ""
      if rest.first == "\"" {
        rest = rest.dropFirst()
        while let character = rest.popFirst(), character != "\"" {
          value.append(character == "\\" ? rest.popFirst() ?? " " : character)
        }
      } else {
        value = String(rest.prefix { $0 != "," })
        rest = rest.dropFirst(value.count)
      }
      found[name] = value
    }
    return found
  }

  /// The address at which the token is to be had, with who and what it is for.
  func tokenURL(defaultScope: String) -> String? {
    guard case .bearer(let realm, let service, let scope) = self else { return nil }
    func encoded(_ text: String) -> String {
      text.utf8.map { byte in
        let plain = (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
        let digits = Array("0123456789ABCDEF")
        return plain || [0x2d, 0x2e, 0x5f, 0x7e].contains(byte)
          ? String(UnicodeScalar(byte)) : "%\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
      }.joined()
    }
    var query = ["scope=\(encoded(scope ?? defaultScope))"]
    if let service { query.insert("service=\(encoded(service))", at: 0) }
    return realm + (realm.contains("?") ? "&" : "?") + query.joined(separator: "&")
  }
}
