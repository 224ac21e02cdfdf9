internal import FoundationEssentials

/// The token of an Authorization header; pure.
enum BearerToken {
  /// The token in `Bearer TOKEN`; for clients that know no bearer tokens also in `ApiKey TOKEN`, `ApiKey` with base64 of
  /// `ANY:TOKEN`, and in `Basic` as the password of any user. Nil for anything else.
  static func read(_ header: String) -> String? {
    let parts = header.split(separator: " ", maxSplits: 1)
    guard parts.count == 2 else { return nil }
    let value = String(parts[1].drop { $0 == " " })
    guard !value.isEmpty else { return nil }
    switch parts[0].lowercased() {
    case "bearer": return value
    case "apikey": return password(value) ?? value
    case "basic": return password(value)
    default: return nil
    }
  }

  /// What stands behind the colon in base64 of `USER:PASSWORD`.
  private static func password(_ value: String) -> String? {
    guard let data = Data(base64Encoded: value), let text = String(validating: data, as: UTF8.self),
      let colon = text.firstIndex(of: ":"), colon < text.index(before: text.endIndex)
    else { return nil }
    return String(text[text.index(after: colon)...])
  }
}
