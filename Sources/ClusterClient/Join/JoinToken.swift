/// A join token as a worker reads it: `apus1.<base64url SHA-256 of the CA key>.<id>.<secret>`.
package struct JoinToken: Sendable, Hashable {
  /// The whole text, which is the credential.
  package let text: String
  /// The SHA-256 of the authority's public key, base64url without padding.
  package let authorityHash: String

  /// Reads a token; surrounding white space is dropped; nil when the text is none.
  package init?(_ text: String) {
    let text = String(text.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4, parts[0] == "apus1", parts[1].utf8.count == 43, !parts[2].isEmpty, !parts[3].isEmpty else {
      return nil
    }
    self.text = text
    authorityHash = String(parts[1])
  }
}
