/// How far a stack trace has been read, by the shape its language writes it in; pure.
///
/// Only lines that can be nothing else begin one, and a line that does not go on ends it.
enum TraceState: Hashable, Sendable {
  /// Python: `Traceback (most recent call last):`, indented frames, `KeyError: 'x'`, and chains of them.
  case python(Python)
  /// Node and Java: `TypeError: text` or `java.lang.RuntimeException: text`, then frames `at …`.
  case stack(Stack)
  /// Node, when an error ends it: where, the code, a caret, and then the error; so many lines of it were read.
  case source(Int)
  /// Swift: `Fatal error: text`, then (`crash`) what the runtime found.
  case swift(isCrash: Bool)

  enum Python: Hashable, Sendable {
    case frames, ended, blank, chained, chainedBlank
    /// An exception group: every line of it is indented.
    case group
  }

  enum Stack: Hashable, Sendable {
    /// Only the first line.
    case head
    /// At least one frame; `braces`: an object of details is open.
    case frames(braces: Bool)
    /// After the frames of an error that ended Node: an empty line, then its version.
    case farewell
  }

  /// Milliseconds that the next line may take to come; then what there is is the record.
  static let waitMilliseconds: Int64 = 20
  /// The same while Swift's runtime looks at a crashed process.
  static let crashMilliseconds: Int64 = 1000

  /// How long the next line may take, nanoseconds.
  var wait: Int64 {
    if case .swift = self { return Self.crashMilliseconds * 1_000_000 }
    return Self.waitMilliseconds * 1_000_000
  }

  /// The state behind a line that can only be the first of a trace; nil for every other line.
  init?(head line: Substring.UTF8View) {
    guard let first = line.first else { return nil }
    switch first {
    case UInt8(ascii: "T") where line.starts(with: Self.traceback): self = .python(.frames)
    case UInt8(ascii: " "):
      guard Self.isGroup(line) else { return nil }
      self = .python(.group)
    case UInt8(ascii: "/"), UInt8(ascii: "n"), UInt8(ascii: "f"):
      if Self.isPlace(line) {
        self = .source(0)
      } else if Self.isError(line) {
        self = .stack(.head)
      } else {
        fallthrough
      }
    default:
      if Self.isError(line) {
        self = .stack(.head)
      } else if Self.isSwift(line, Self.fatal) {
        self = .swift(isCrash: false)
      } else if Self.isSwift(line, Self.crashed) {
        self = .swift(isCrash: true)
      } else {
        return nil
      }
    }
  }

  /// Whether it is a trace for sure; until then its lines may turn out to be ordinary ones.
  var isCertain: Bool {
    switch self {
    case .stack(.head), .source(0), .source(1): false
    default: true
    }
  }

  /// Takes the next line; false when it is not of this trace.
  mutating func take(_ line: Substring.UTF8View) -> Bool {
    switch self {
    case .python(let state): takePython(line, state)
    case .stack(let state): takeStack(line, state)
    case .source(let count): takeSource(line, count)
    case .swift(let isCrash): takeSwift(line, isCrash)
    }
  }

  /// Whether no line can follow.
  static func ends(_ line: Substring.UTF8View) -> Bool {
    line.starts(with: "Backtrace took ".utf8) || line.starts(with: "Node.js v".utf8)
  }

  // MARK: Python

  private static let traceback = Array("Traceback (most recent call last):".utf8)
  private static let exceptionGroup = Array("Exception Group Traceback (most recent call last):".utf8)
  private static let chains = [
    Array("During handling of the above exception".utf8), Array("The above exception was the direct cause".utf8),
  ]

  private static func isGroup(_ line: Substring.UTF8View) -> Bool {
    line.prefix(64).drop(while: { $0 == 0x20 || $0 == 0x2B }).starts(with: exceptionGroup)
  }

  private mutating func takePython(_ line: Substring.UTF8View, _ state: Python) -> Bool {
    let isBlank = line.isEmpty
    switch state {
    case .group: return Self.isIndented(line) && !Self.isGroup(line)
    case .frames:
      if isBlank || line.starts(with: Self.traceback) { return false }
      if !Self.isIndented(line) { self = .python(.ended) }
      return true
    case .ended:
      guard isBlank else { return false }
      self = .python(.blank)
      return true
    case .blank:
      guard Self.chains.contains(where: { line.starts(with: $0) }) else { return false }
      self = .python(.chained)
      return true
    case .chained:
      guard isBlank else { return false }
      self = .python(.chainedBlank)
      return true
    case .chainedBlank:
      guard line.starts(with: Self.traceback) else { return false }
      self = .python(.frames)
      return true
    }
  }

  // MARK: Node and Java

  private mutating func takeStack(_ line: Substring.UTF8View, _ state: Stack) -> Bool {
    switch state {
    case .head:
      if line.starts(with: Self.traceback) {
        // `Exception in thread …:` of Python's threads.
        self = .python(.frames)
        return true
      }
      guard Self.isFrame(line) else { return false }
      self = .stack(.frames(braces: line.last == UInt8(ascii: "{")))
      return true
    case .frames(let braces):
      if line.isEmpty {
        self = .stack(.farewell)
        return true
      }
      let goesOn =
        Self.isIndented(line) || line.starts(with: "Caused by: ".utf8) || line.starts(with: "Suppressed: ".utf8)
        || (braces && (line.first == UInt8(ascii: "}") || line.first == UInt8(ascii: "]")))
      guard goesOn else { return false }
      if line.last == UInt8(ascii: "{") { self = .stack(.frames(braces: true)) }
      return true
    case .farewell: return line.starts(with: "Node.js v".utf8)
    }
  }

  private mutating func takeSource(_ line: Substring.UTF8View, _ count: Int) -> Bool {
    switch count {
    case 0: self = .source(1)
    case 1:
      guard line.contains(UInt8(ascii: "^")), line.allSatisfy({ [0x20, 0x09, 0x5E, 0x7E].contains($0) }) else {
        return false
      }
      self = .source(2)
    case 2: self = line.isEmpty ? .source(3) : .stack(.frames(braces: false))
    default: self = .stack(.frames(braces: false))
    }
    return true
  }

  private static func isIndented(_ line: Substring.UTF8View) -> Bool { line.first == 0x20 || line.first == 0x09 }

  private static func isFrame(_ line: Substring.UTF8View) -> Bool {
    isIndented(line) && line.drop { $0 == 0x20 || $0 == 0x09 }.starts(with: "at ".utf8)
  }

  private static let endings = [Array("Error".utf8), Array("Exception".utf8), Array("Throwable".utf8)]
  private static let prefixes = [Array("Uncaught ".utf8), Array("Exception in thread ".utf8)]

  /// `TypeError: text`, `Error [CODE]: text`, `java.io.IOException`, `Exception in thread "main" java.…`.
  private static func isError(_ line: Substring.UTF8View) -> Bool {
    var rest = line
    for prefix in prefixes where rest.starts(with: prefix) {
      if prefix == prefixes[1] { return true }
      rest = rest.dropFirst(prefix.count)
    }
    var end = rest.startIndex
    var length = 0
    while end < rest.endIndex, length < 200, isName(rest[end]) {
      end = rest.index(after: end)
      length += 1
    }
    guard length >= 5, end == rest.endIndex || rest[end] == 0x3A || rest[end] == 0x20 else { return false }
    let name = rest[..<end]
    guard endings.contains(where: { $0.count <= length && name.suffix($0.count).elementsEqual($0) }) else {
      return false
    }
    // `Error handling failed` is a sentence; `Error [CODE]: …` and `Error: …` are not.
    if end == rest.endIndex || rest[end] == 0x3A { return true }
    return rest[rest.index(after: end)...].first == UInt8(ascii: "[")
  }

  private static func isName(_ byte: UInt8) -> Bool {
    let low = byte | 0x20
    return (low >= 0x61 && low <= 0x7A) || (byte >= 0x30 && byte <= 0x39) || byte == 0x5F || byte == 0x2E
      || byte == 0x24
  }

  /// `/app/handler.js:12`, `file:///app/handler.mjs:3`, `node:internal/modules/run_main:129`.
  private static func isPlace(_ line: Substring.UTF8View) -> Bool {
    guard let last = line.last, last >= 0x30, last <= 0x39, !line.contains(0x20) else { return false }
    let digits = line.reversed().prefix { $0 >= 0x30 && $0 <= 0x39 }.count
    let place = line.dropLast(digits)
    guard place.last == 0x3A else { return false }
    let file = place.dropLast()
    if line.starts(with: "node:".utf8) { return true }
    guard line.first == 0x2F || line.starts(with: "file:///".utf8) else { return false }
    return [".js", ".mjs", ".cjs", ".ts"].contains { file.suffix($0.utf8.count).elementsEqual($0.utf8) }
  }

  // MARK: Swift

  private static let fatal = Array("Fatal error: ".utf8)
  private static let crashed = Array("Program crashed: ".utf8)

  private mutating func takeSwift(_ line: Substring.UTF8View, _ isCrash: Bool) -> Bool {
    if isCrash { return true }
    if line.isEmpty { return true }
    guard Self.isSwift(line, Self.crashed) else { return false }
    self = .swift(isCrash: true)
    return true
  }

  /// A text at the beginning, behind a place in the source and a colon, or behind the runtime's mark.
  private static func isSwift(_ line: Substring.UTF8View, _ text: [UInt8]) -> Bool {
    if line.starts(with: text) { return true }
    var rest = line.prefix(300)
    while let next = rest.firstIndex(of: text[0]) {
      rest = rest[next...]
      if rest.starts(with: text) {
        let before = line[..<next]
        return before.suffix(2).elementsEqual(": ".utf8) && before.contains(UInt8(ascii: "/"))
          || before.count <= 5 && !before.contains { $0 >= 0x30 && $0 < 0x7B }
      }
      rest = rest.dropFirst()
    }
    return false
  }
}
