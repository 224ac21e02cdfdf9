extension Schema.Rule {
  /// Any text up to 32 KiB.
  package static let text = Schema.Rule("text") { $0.utf8.count > 32_768 ? "is longer than 32 KiB" : nil }

  /// A DNS label: a–z, 0–9 and `-`, starting and ending with a letter or digit, ≤ 63 characters.
  package static let dnsLabel = Schema.Rule("name") { text in
    let fits = text.utf8.allSatisfy { ($0 >= 97 && $0 <= 122) || ($0 >= 48 && $0 <= 57) || $0 == 45 }
    if text.isEmpty || !fits || text.hasPrefix("-") || text.hasSuffix("-") {
      return "\"\(text.prefix(80))\" is not a name; use a-z, 0-9 and -, starting and ending with a letter or digit"
    }
    return text.utf8.count > 63 ? "\"\(text.prefix(80))\" is longer than 63 characters" : nil
  }

  /// A function's name: a DNS label of at most 50 characters that starts with a letter.
  package static let functionName = Schema.Rule("name") { text in
    if let problem = dnsLabel.check(text) { return problem }
    if text.utf8.count > Limits.functionName { return "\"\(text)\" is longer than \(Limits.functionName) characters" }
    return text.first?.isLetter == true ? nil : "\"\(text)\" must start with a letter"
  }

  /// A quantity of bytes in a range.
  package static func bytes(_ range: ClosedRange<Int64>) -> Schema.Rule {
    Schema.Rule("quantity") { text in
      guard let quantity = Quantity(text) else { return "\"\(text)\" is not a quantity\(hint(text))" }
      if range.contains(quantity.value) { return nil }
      return
        "\"\(text)\" is out of range; use \(Quantity(bytes: range.lowerBound)) to \(Quantity(bytes: range.upperBound))"
    }
  }

  /// A quantity of cores in a range of thousandths.
  package static func cores(_ range: ClosedRange<Int64>) -> Schema.Rule {
    Schema.Rule("quantity") { text in
      guard let quantity = Quantity(text) else { return "\"\(text)\" is not a quantity; use 500m or 1" }
      if range.contains(quantity.milli) { return nil }
      let (low, high) = (Quantity(milliCores: range.lowerBound), Quantity(milliCores: range.upperBound))
      return "\"\(text)\" is out of range; use \(low) to \(high)"
    }
  }

  /// A duration in a range.
  package static func duration(_ range: ClosedRange<TimeSpan>) -> Schema.Rule {
    Schema.Rule("duration") { text in
      guard let span = TimeSpan(text) else { return "\"\(text)\" is not a duration; use 500ms, 30s or 5m" }
      return range.contains(span)
        ? nil : "\"\(text)\" is out of range; use \(range.lowerBound) to \(range.upperBound)"
    }
  }

  /// One of some words.
  package static func oneOf(_ words: [String]) -> Schema.Rule {
    Schema.Rule("one of \(words.joined(separator: ", "))") { text in
      if words.contains(text) { return nil }
      let near = Suggestion.nearest(to: text, in: words).map { "; did you mean \"\($0)\"?" } ?? ""
      return "\"\(text.prefix(80))\" is not one of \(words.joined(separator: ", "))\(near)"
    }
  }

  /// An environment variable's name that the platform does not set itself.
  package static let environmentName = Schema.Rule("environment name") { text in
    let first = text.utf8.first ?? 48
    let letters = text.utf8.allSatisfy {
      ($0 >= 65 && $0 <= 90) || ($0 >= 97 && $0 <= 122) || ($0 >= 48 && $0 <= 57) || $0 == 95
    }
    if !letters || (first >= 48 && first <= 57) || text.utf8.count > 256 {
      return "\"\(text.prefix(80))\" is not a variable name; use letters, digits and _"
    }
    if text.hasPrefix("APUS_") || text.hasPrefix("K_") || ["PORT", "LISTEN_FDS"].contains(text) {
      return "\"\(text)\" is set by the platform; choose another name"
    }
    return nil
  }

  /// A label's key: an optional `prefix/` and a name of ≤ 63 characters.
  package static let labelKey = Schema.Rule("label key") { text in
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    let name = parts.last ?? ""
    let fits = name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
    guard parts.count <= 2, !name.isEmpty, name.count <= 63, fits, text.utf8.count <= 317 else {
      return "\"\(text.prefix(80))\" is not a label key; use an optional prefix/ and ≤ 63 of a-z, 0-9, -, _ and ."
    }
    return nil
  }

  /// A label's value: ≤ 63 characters of letters, digits, `-`, `_` and `.`.
  package static let labelValue = Schema.Rule("label value") { text in
    let fits = text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
    return fits && text.utf8.count <= 63
      ? nil : "\"\(text.prefix(80))\" is not a label value; use ≤ 63 of a-z, 0-9, -, _, ."
  }

  /// `sha256:` and 64 hex digits.
  package static let digest = Schema.Rule("digest") { text in
    let hex = text.dropFirst(7)
    let fits = hex.utf8.allSatisfy { ($0 >= 48 && $0 <= 57) || ($0 >= 97 && $0 <= 102) }
    return text.hasPrefix("sha256:") && hex.utf8.count == 64 && fits
      ? nil : "\"\(text.prefix(80))\" is not a digest; use sha256: and 64 hex digits"
  }

  /// A container image, with or without a digest.
  package static let image = Schema.Rule("image") { text in
    do throws(ImageReference.Flaw) {
      _ = try ImageReference(text)
      return nil
    } catch {
      return error.description
    }
  }

  /// `FILE[:function]` inside the package.
  package static let handler = Schema.Rule("handler") { text in
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    let file = parts.first ?? ""
    if text.isEmpty || parts.count > 2 || file.isEmpty || (parts.count == 2 && parts[1].isEmpty) {
      return "\"\(text.prefix(80))\" is not a handler; use FILE or FILE:function"
    }
    return file.hasPrefix("/") || file.split(separator: "/").contains("..")
      ? "\"\(text.prefix(80))\" leaves the package; use a path inside the folder" : nil
  }

  /// A path of an HTTP probe.
  package static let path = Schema.Rule("path") { text in
    text.hasPrefix("/") && text.utf8.allSatisfy { $0 > 32 && $0 < 127 } && text.utf8.count <= 1024
      ? nil : "\"\(text.prefix(80))\" is not a path; start it with /"
  }

  /// A cron expression.
  package static let cron = Schema.Rule("cron expression") { text in
    do throws(CronExpression.Flaw) {
      _ = try CronExpression(text)
      return nil
    } catch {
      return error.description
    }
  }

  /// The name of an IANA time zone.
  package static let timeZone = Schema.Rule("time zone") { text in
    NamedZone.offsets(text) == nil
      ? "\"\(text.prefix(80))\" is no time zone; use a name of the IANA data base, such as UTC or Europe/Berlin" : nil
  }

  /// A policy for runs that would overlap.
  package static let concurrencyPolicy = Schema.Rule("one of Allow, Forbid") { text in
    if text == "Replace" {
      return "\"Replace\" cannot be kept: a call that was sent cannot be taken back; use Allow or Forbid"
    }
    return oneOf(ConcurrencyPolicy.allCases.map(\.rawValue)).check(text)
  }

  /// Path and query of a call to a function.
  package static let callPath = Schema.Rule("path") { text in
    text.contains("#") ? "\"\(text.prefix(80))\" holds a #; write it %23" : path.check(text)
  }

  /// The value of a header field.
  package static let fieldValue = Schema.Rule("header value") { text in
    (1...256).contains(text.utf8.count) && text.utf8.allSatisfy { $0 >= 32 && $0 < 127 }
      ? nil : "\"\(text.prefix(80))\" is not a header value; use 1 to 256 printable ASCII characters"
  }

  /// RFC 4648 base64.
  package static let base64 = Schema.Rule("base64") { text in
    let body = text.utf8.prefix { $0 != 61 }
    let fits = body.allSatisfy {
      ($0 >= 65 && $0 <= 90) || ($0 >= 97 && $0 <= 122) || ($0 >= 48 && $0 <= 57) || $0 == 43 || $0 == 47
    }
    let padding = text.utf8.dropFirst(body.count)
    let fine = fits && padding.count <= 2 && padding.allSatisfy { $0 == 61 } && text.utf8.count % 4 == 0
    return fine ? nil : "is not base64"
  }

  private static func hint(_ text: String) -> String {
    for (wrong, binary, decimal) in [("MB", "Mi", "M"), ("GB", "Gi", "G"), ("KB", "Ki", "k"), ("kB", "Ki", "k")] {
      guard text.hasSuffix(wrong) else { continue }
      let number = text.dropLast(2)
      return "; use \(number)\(binary) or \(number)\(decimal)"
    }
    return "; use 128Mi or 128M"
  }
}
