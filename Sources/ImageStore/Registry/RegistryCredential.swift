/// Who asks a registry.
package struct RegistryCredential: Hashable, Sendable {
  /// The user's name.
  package var user: String
  /// The password, or a token that stands for one.
  package var password: String

  /// A name and a password.
  package init(user: String, password: String) {
    self.user = user
    self.password = password
  }

  /// The value of an `Authorization` header.
  var basic: String { "Basic " + Base64.encoded(Array("\(user):\(password)".utf8)) }
}

/// RFC 4648, with padding.
enum Base64 {
  private static let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  static func encoded(_ bytes: [UInt8]) -> String {
    var text: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let part = bytes[start..<min(start + 3, bytes.count)]
      let bits = part.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - part.count))
      for index in 0..<4 {
        text.append(index <= part.count ? digits[bits >> (18 - 6 * index) & 63] : UInt8(ascii: "="))
      }
    }
    return String(decoding: text, as: UTF8.self)
  }
}
