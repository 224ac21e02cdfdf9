extension QueryParser {
  /// regex = "/" { character | "\" character } "/" [ "i" ], up to the first slash without `\` before it.
  ///
  /// Nil when that slash is not the end of the match: then it is a path, such as `/api/orders`. In the message there are
  /// only expressions.
  mutating func regex(_ field: LogField) throws(LogQueryError) -> LogFilter? {
    let start = index
    let isMessage = field == .reserved(.msg)
    var end = start + 1
    while let byte = byte(at: end), byte != 0x2F { end += byte == 0x5C ? 2 : 1 }
    guard byte(at: end) == 0x2F else {
      if !isMessage { return nil }
      throw error(
        start, "a regular expression that is never closed", "end it with '/', and write \\/ for a slash inside")
    }
    let isFolded = byte(at: end + 1) == 0x69
    let after = end + (isFolded ? 2 : 1)
    if let next = byte(at: after), !ASCII.isSpace(next), next != 0x29, next != 0x7C {
      if !isMessage { return nil }
      throw error(end + 1, "unexpected text after a regular expression", "write \\/ for a slash inside it")
    }
    let pattern = Array(bytes[(start + 1)..<end])
    guard !pattern.isEmpty else {
      throw error(start, "an empty regular expression", "write what to look for, or \(field):* if any value will do")
    }
    guard pattern.count <= Self.textMaximum else {
      throw error(start, "a text of more than \(Self.textMaximum) bytes", "search for a shorter part of it")
    }
    do throws(RegexFault) {
      let filter = try RegexFilter(field: field, pattern: pattern, isFolded: isFolded)
      index = after
      return .regex(filter)
    } catch {
      throw self.error(start + 1 + error.offset, error.message, error.hint)
    }
  }
}
