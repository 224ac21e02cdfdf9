/// Finds what is a secret by its shape or its name; pure, one pass over the bytes.
enum MaskScanner {
  /// Ends of names whose values are secrets: lower case, `-` as `_`.
  private static let names: [[UInt8]] = [
    "password", "passwd", "passphrase", "secret", "secret_key", "access_token", "refresh_token", "auth_token",
    "id_token",
    "api_key", "apikey", "access_key", "private_key", "authorization",
  ].map { Array($0.utf8) }

  /// Beginnings of tokens that say what they are.
  private static let tokens: [[UInt8]] = [
    "ghp_", "gho_", "ghs_", "ghr_", "ghu_", "github_pat_", "sk_live_", "rk_live_", "glpat-", "xoxb-", "xoxp-", "xoxa-",
    "xoxs-",
  ].map { Array($0.utf8) }

  /// The fewest bytes of a token behind its beginning.
  private static let tokenBytes = 16

  private static let begin = Array("-----BEGIN ".utf8)
  private static let privateKey = Array("PRIVATE KEY-----".utf8)

  /// Whether there is a secret.
  static func finds(_ text: UnsafeRawBufferPointer) -> Bool {
    var run = TokenRun()
    return scan(text, from: 0, &run) != nil
  }

  /// Where the secrets are, in order.
  static func secrets(_ text: UnsafeRawBufferPointer) -> [Range<Int>] {
    var run = TokenRun()
    return secrets(text, &run)
  }

  /// The same with the run of the one scan.
  static func secrets(_ text: UnsafeRawBufferPointer, _ run: inout TokenRun) -> [Range<Int>] {
    var found: [Range<Int>] = []
    var from = 0
    while let secret = scan(text, from: from, &run) {
      if found.count >= LogMasks.occurrencesMaximum {
        found.append(secret.lowerBound..<text.count)
        break
      }
      found.append(secret)
      from = max(secret.upperBound, from + 1)
    }
    return found
  }

  /// Whether a field of a name holds a secret.
  static func isSecret(name: String) -> Bool {
    var name = name
    return name.withUTF8 { isSecretName(UnsafeRawBufferPointer($0), end: $0.count) }
  }

  private static func scan(_ text: UnsafeRawBufferPointer, from: Int, _ run: inout TokenRun) -> Range<Int>? {
    for index in from..<max(from, text.count) {
      let found: Range<Int>?
      switch text[index] {
      case UInt8(ascii: ":"): found = credentials(text, index) ?? named(text, index)
      case UInt8(ascii: "="): found = named(text, index)
      case UInt8(ascii: "_"), UInt8(ascii: "-"): found = token(text, index, &run) ?? key(text, index)
      case UInt8(ascii: "J"): found = webToken(text, index, &run)
      case UInt8(ascii: " "): found = scheme(text, index, &run)
      default: continue
      }
      if let found, found.lowerBound >= from { return found }
    }
    return nil
  }

  // MARK: By name

  /// `password=…`, `"api_key": "…"`, `Authorization: Bearer …`: `index` is at the sign between.
  private static func named(_ text: UnsafeRawBufferPointer, _ index: Int) -> Range<Int>? {
    var end = index
    while end > 0, isAround(text[end - 1]) { end -= 1 }
    guard isSecretName(text, end: end) else { return nil }
    var start = index + 1
    while start < text.count, isAround(text[start]) { start += 1 }
    var stop = value(text, start)
    // A scheme stands before what is secret.
    let word = UnsafeRawBufferPointer(rebasing: text[start..<stop])
    if same(word, "bearer") || same(word, "basic") || same(word, "token") || same(word, "apikey"),
      stop < text.count, text[stop] == 0x20
    {
      let next = value(text, stop + 1)
      if next > stop + 1 { (start, stop) = (stop + 1, next) }
    }
    guard stop > start, !isNothing(UnsafeRawBufferPointer(rebasing: text[start..<stop])) else { return nil }
    return start..<stop
  }

  /// Whether a secret's name ends here.
  private static func isSecretName(_ text: UnsafeRawBufferPointer, end: Int) -> Bool {
    // The letters that the names end in.
    guard end > 0, [0x64, 0x65, 0x6E, 0x74, 0x79].contains(text[end - 1] | 0x20) else { return false }
    return names.contains { name in
      guard end >= name.count else { return false }
      for offset in name.indices {
        let byte = text[end - name.count + offset]
        let folded = byte == UInt8(ascii: "-") ? UInt8(ascii: "_") : byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte
        if folded != name[offset] { return false }
      }
      return true
    }
  }

  /// The end of the value that begins here.
  private static func value(_ text: UnsafeRawBufferPointer, _ start: Int) -> Int {
    var end = start
    while end < text.count {
      switch text[end] {
      case 0...0x20, UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: ","), UInt8(ascii: ";"), UInt8(ascii: "&"),
        UInt8(ascii: ")"), UInt8(ascii: "}"), UInt8(ascii: "]"), UInt8(ascii: "\\"), UInt8(ascii: "<"):
        return end
      default: end += 1
      }
    }
    return end
  }

  private static func isNothing(_ value: UnsafeRawBufferPointer) -> Bool {
    same(value, "null") || same(value, "none") || same(value, "nil") || same(value, "true") || same(value, "false")
      || same(value, "***") || same(value, "undefined")
  }

  // MARK: By shape

  /// The password of `scheme://user:password@host`: `index` is at the colon.
  private static func credentials(_ text: UnsafeRawBufferPointer, _ index: Int) -> Range<Int>? {
    guard index + 3 < text.count, text[index + 1] == 0x2F, text[index + 2] == 0x2F else { return nil }
    var colon: Int?
    var place = index + 3
    while place < text.count {
      switch text[place] {
      case UInt8(ascii: ":") where colon == nil: colon = place
      case UInt8(ascii: "@"): return colon.flatMap { $0 + 1 < place ? ($0 + 1)..<place : nil }
      case 0...0x20, UInt8(ascii: "/"), UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "?"), UInt8(ascii: "\\"):
        return nil
      default: break
      }
      place += 1
    }
    return nil
  }

  /// A token that says what it is: `index` is at the last character of its beginning.
  private static func token(_ text: UnsafeRawBufferPointer, _ index: Int, _ run: inout TokenRun) -> Range<Int>? {
    for token in tokens where token.last == text[index] && index + 1 >= token.count {
      let start = index + 1 - token.count
      guard text[start..<(index + 1)].elementsEqual(token), start == 0 || !isWord(text[start - 1]) else { continue }
      run.move(to: index + 1, in: text)
      return run.end - index > tokenBytes ? start..<run.end : nil
    }
    return nil
  }

  /// A private key in PEM: `index` is at its first dash.
  private static func key(_ text: UnsafeRawBufferPointer, _ index: Int) -> Range<Int>? {
    guard text[index] == UInt8(ascii: "-"), index + begin.count < text.count,
      text[index..<(index + begin.count)].elementsEqual(begin)
    else { return nil }
    let head = text[index..<min(text.count, index + 64)]
    guard String(decoding: head, as: UTF8.self).contains(String(decoding: privateKey, as: UTF8.self)) else {
      return nil
    }
    return index..<text.count
  }

  /// A JSON web token, three parts with dots between: `index` is at the J of `eyJ`.
  private static func webToken(_ text: UnsafeRawBufferPointer, _ index: Int, _ run: inout TokenRun) -> Range<Int>? {
    guard index >= 2, text[index - 2] == UInt8(ascii: "e"), text[index - 1] == UInt8(ascii: "y"),
      index == 2 || !isWord(text[index - 3])
    else { return nil }
    run.move(to: index, in: text)
    return run.dots == 2 && run.end - index > 30 ? (index - 2)..<run.end : nil
  }

  /// What stands behind `Bearer` or `Basic`: `index` is at the space between. A word of letters alone is a sentence's.
  private static func scheme(_ text: UnsafeRawBufferPointer, _ index: Int, _ run: inout TokenRun) -> Range<Int>? {
    guard index >= 5, text[index - 1] == UInt8(ascii: "r") || text[index - 1] == UInt8(ascii: "c") else { return nil }
    let isScheme = ["bearer", "basic"].contains { word in
      let start = index - word.utf8.count
      guard start >= 0, same(UnsafeRawBufferPointer(rebasing: text[start..<index]), word) else { return false }
      return start == 0 || !isWord(text[start - 1])
    }
    guard isScheme else { return nil }
    run.move(to: index + 1, in: text)
    let secret = text[(index + 1)..<run.end]
    guard secret.count >= 8, secret.contains(where: { ($0 >= 0x30 && $0 <= 0x39) || $0 == UInt8(ascii: "=") }) else {
      return nil
    }
    return (index + 1)..<run.end
  }

  // MARK: Characters

  /// What is left of a run of the characters tokens are made of. One scan has one and only moves on: many tokens may
  /// begin in one long run, and each byte of it is looked at once to find its end and once to leave it.
  struct TokenRun {
    private var start = 0
    /// Where it ends.
    private(set) var end = 0
    /// The dots in what is left of it.
    private(set) var dots = 0
    /// Bytes looked at so far.
    private(set) var looked = 0

    /// The run from a place on, which is not before the last one.
    mutating func move(to index: Int, in text: UnsafeRawBufferPointer) {
      if index < end {
        for place in start..<index where text[place] == UInt8(ascii: ".") { dots -= 1 }
        looked += index - start
        start = index
        return
      }
      (start, end, dots) = (index, index, 0)
      while end < text.count, isPart(text[end]) {
        if text[end] == UInt8(ascii: ".") { dots += 1 }
        end += 1
      }
      looked += end - start
    }

    private func isPart(_ byte: UInt8) -> Bool {
      switch byte {
      case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="),
        UInt8(ascii: "~"):
        true
      default: MaskScanner.isWord(byte)
      }
    }
  }

  /// Blanks, quotes, and the backslashes before quotes in JSON inside of JSON.
  private static func isAround(_ byte: UInt8) -> Bool {
    byte == 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\\")
  }

  private static func isWord(_ byte: UInt8) -> Bool {
    let low = byte | 0x20
    return (low >= 0x61 && low <= 0x7A) || (byte >= 0x30 && byte <= 0x39) || byte == 0x5F
  }

  /// Whether a text is this word, in any case.
  private static func same(_ text: UnsafeRawBufferPointer, _ word: String) -> Bool {
    guard text.count == word.utf8.count else { return false }
    return zip(text, word.utf8).allSatisfy { ($0 >= 0x41 && $0 <= 0x5A ? $0 | 0x20 : $0) == $1 }
  }
}
