import Glibc

/// What is masked in log lines before they are written anywhere.
///
/// The standard masks are for what is nothing but a secret by its shape or its name (docs/operations.md has the list).
/// Patterns of the operator come beside them.
package struct LogMasks: Sendable {
  /// What stands for a secret.
  package static let mask = "***"
  /// Patterns at most.
  package static let patternsMaximum = 64
  /// Bytes of a pattern at most.
  package static let patternBytes = 512
  /// Occurrences of one pattern that are masked in one text; the rest of the text is masked as a whole.
  static let occurrencesMaximum = 1000

  private let isStandard: Bool
  private let patterns: [MaskPattern]

  /// The standard masks.
  package static let standard = LogMasks(isStandard: true, patterns: [])
  /// No masks.
  package static let off = LogMasks(isStandard: false, patterns: [])

  private init(isStandard: Bool, patterns: [MaskPattern]) {
    self.isStandard = isStandard
    self.patterns = patterns
  }

  /// The standard masks and those of a file's text: an extended regular expression (POSIX) a line; `#` begins a comment.
  /// Throws the line that is none. The C library runs them: one with unbounded repeats may take long on a long line.
  package init(file text: String) throws(LogMaskFault) {
    var patterns: [MaskPattern] = []
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      if line.isEmpty || line.hasPrefix("#") { continue }
      guard patterns.count < Self.patternsMaximum, line.utf8.count <= Self.patternBytes else {
        throw LogMaskFault(
          line: index + 1, why: "\(Self.patternsMaximum) patterns of \(Self.patternBytes) bytes are the most")
      }
      guard let pattern = MaskPattern(String(line)) else {
        throw LogMaskFault(line: index + 1, why: "\(line) is no extended regular expression that matches text")
      }
      patterns.append(pattern)
    }
    self.init(isStandard: true, patterns: patterns)
  }

  /// Whether a line's bytes, as they were read, may hold something to mask: a quick look that most lines end at.
  package func mayHold(_ line: UnsafeRawBufferPointer) -> Bool {
    !patterns.isEmpty || (isStandard && MaskScanner.finds(line))
  }

  /// Masks a record's message and fields.
  package func apply(to record: inout LogRecord) {
    record.msg = masked(record.msg)
    for (name, value) in record.fields { record.fields[name] = masked(value, name: name) }
  }

  /// A text with what is secret in it masked.
  package func masked(_ text: String) -> String {
    var bytes = Array(text.utf8)
    var found = false
    if isStandard {
      let secrets = bytes.withUnsafeBytes { MaskScanner.secrets($0) }
      found = Self.replace(secrets, in: &bytes)
    }
    for pattern in patterns { found = Self.replace(pattern.matches(bytes), in: &bytes) || found }
    return found ? String(decoding: bytes, as: UTF8.self) : text
  }

  /// The value of a field with what is secret in it masked, or masked as a whole when its name says so.
  package func masked(_ value: JSONValue, name: String) -> JSONValue {
    switch value {
    case .string(let text):
      isStandard && !text.isEmpty && MaskScanner.isSecret(name: name) ? .string(Self.mask) : .string(masked(text))
    case .int, .double: isStandard && MaskScanner.isSecret(name: name) ? .string(Self.mask) : value
    case .array(let items): .array(items.map { masked($0, name: name) })
    case .object(let members):
      .object(Dictionary(members.map { ($0.key, masked($0.value, name: $0.key)) }) { _, last in last })
    case .bool, .null: value
    }
  }

  private static func replace(_ ranges: [Range<Int>], in bytes: inout [UInt8]) -> Bool {
    var end = bytes.count
    // From the back, so that what stands before keeps its place; a secret inside another is masked with it.
    for range in ranges.reversed() where range.upperBound <= end {
      bytes.replaceSubrange(range, with: mask.utf8)
      end = range.lowerBound
    }
    return !ranges.isEmpty
  }
}

/// A mask that cannot be used.
package struct LogMaskFault: Error, Hashable, CustomStringConvertible {
  /// The line of the file, counted from 1.
  package let line: Int
  /// What is wrong with it.
  package let why: String

  /// One sentence.
  package var description: String { "line \(line): \(why)" }
}

// SAFETY: the compiled pattern is written only before it is shared and when the last owner is gone; regexec(3) may be
// called for one pattern from several threads.
private final class MaskPattern: @unchecked Sendable {
  private var compiled = regex_t()

  init?(_ text: String) {
    guard regcomp(&compiled, text, REG_EXTENDED) == 0 else { return nil }
    // A pattern that matches nothing at all would mask between every two characters.
    if regexec(&compiled, "", 0, nil, 0) == 0 { return nil }
  }

  deinit { regfree(&compiled) }

  /// Where the pattern matches, in order.
  func matches(_ bytes: [UInt8]) -> [Range<Int>] {
    bytes.withUnsafeBytes { buffer in
      guard let base = buffer.baseAddress?.assumingMemoryBound(to: CChar.self) else { return [] }
      var found: [Range<Int>] = []
      var start = 0
      while start < buffer.count {
        var match = regmatch_t(rm_so: regoff_t(start), rm_eo: regoff_t(buffer.count))
        let flags = REG_STARTEND | (start > 0 ? REG_NOTBOL : 0)
        guard regexec(&compiled, base, 1, &match, flags) == 0, match.rm_eo > match.rm_so else { break }
        if found.count >= LogMasks.occurrencesMaximum {
          found.append(Int(match.rm_so)..<buffer.count)
          break
        }
        found.append(Int(match.rm_so)..<Int(match.rm_eo))
        start = Int(match.rm_eo)
      }
      return found
    }
  }
}
