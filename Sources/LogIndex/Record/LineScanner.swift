/// What one value of a line is, to the columns.
enum SlotKind {
  static let string: UInt8 = 0
  static let number: UInt8 = 1
  /// `true` or `false`.
  static let word: UInt8 = 2
  /// An array, or what lies too deep, as it is spelled.
  static let raw: UInt8 = 3
  /// The record's time as `YYYY-MM-DDTHH:MM:SS`, a point and so many digits, and `Z`; without digits no point.
  static let time: UInt8 = 16

  static func isTime(_ kind: UInt8) -> Bool { kind >= time && kind <= time + 9 }
  static func isKnown(_ kind: UInt8) -> Bool { kind <= raw || isTime(kind) }
}

/// One value of a line: where it lies, strings without their quotes.
struct LineSlot {
  var start: Int32
  var end: Int32
  var kind: UInt8
  /// The key at the top of the record, when it is one that counts.
  var role: LineRole
}

/// The values the columns treat in ways of their own.
enum LineRole: UInt8 {
  case none, time, level, namespace, function, call, msg
}

/// One pass over a line that accepts exactly what `IndexedRecord` accepts, and notes its values.
///
/// Everything but the values, keys and punctuation as they are spelled, is the line's shape.
struct LineScanner {
  static let slotDepth = 8

  private(set) var slots: [LineSlot] = []
  /// Nanoseconds since 1970.
  private(set) var time: Int64 = 0
  private(set) var level: RecordLevel?
  private(set) var namespace = -1
  private(set) var function = -1
  private(set) var hasEscape = false

  private var p: UnsafePointer<UInt8>
  private var count = 0
  private var i = 0
  private var timeSlot = -1
  private var levelSlot = -1
  private var isArray = 0
  private var day: (UInt64, UInt16, Int64) = (0, 0, 0)

  init() {
    // SAFETY: never read through before `scan` has set it to a caller's bytes.
    p = UnsafePointer(bitPattern: 8).unsafelyUnwrapped
    slots.reserveCapacity(64)
  }

  /// Reads a line without its break; false when it is no record.
  mutating func scan(_ bytes: UnsafePointer<UInt8>, _ length: Int) -> Bool {
    guard length <= IndexedRecord.maximumBytes else { return false }
    p = bytes
    count = length
    i = 0
    isArray = 0
    hasEscape = false
    slots.removeAll(keepingCapacity: true)
    (timeSlot, levelSlot, namespace, function) = (-1, -1, -1, -1)
    blanks()
    guard i < count, p[i] == 0x7B, object(depth: 1) else { return false }
    blanks()
    guard i == count, timeSlot >= 0 else { return false }
    return readTime() && readLevel()
  }

  private mutating func readLevel() -> Bool {
    level = nil
    guard levelSlot >= 0 else { return true }
    let slot = slots[levelSlot]
    guard slot.kind == SlotKind.string else { return true }
    let text = UnsafeBufferPointer(start: p + Int(slot.start), count: Int(slot.end - slot.start))
    if text.contains(0x5C) {
      level = RecordLevel(name: JSONText.unescaped(Array(text)[...]))
    } else if text.count <= 7 {
      level = RecordLevel(short: text)
    }
    return true
  }

  private mutating func readTime() -> Bool {
    let slot = slots[timeSlot]
    guard slot.kind == SlotKind.string else { return false }
    let text = UnsafeBufferPointer(start: p + Int(slot.start), count: Int(slot.end - slot.start))
    if let (value, digits) = plainTime(text) {
      time = value
      slots[timeSlot].kind = SlotKind.time + UInt8(digits)
      return true
    }
    let parsed = text.contains(0x5C) ? RecordTime.parse(JSONText.unescaped(Array(text)[...])) : RecordTime.parse(text)
    guard let parsed else { return false }
    time = parsed
    return true
  }

  /// The time of the spelling that follows from it and its number of digits.
  private mutating func plainTime(_ text: UnsafeBufferPointer<UInt8>) -> (Int64, Int)? {
    guard text.count >= 20, text.count <= 30, text.count != 21, let base = text.baseAddress,
      text[text.count - 1] == 0x5A, text[10] == 0x54, text[13] == 0x3A, text[16] == 0x3A
    else { return nil }
    let raw = UnsafeRawPointer(base)
    let head = raw.loadUnaligned(as: UInt64.self)
    let tail = raw.loadUnaligned(fromByteOffset: 8, as: UInt16.self)
    if head != day.0 || tail != day.1 {
      guard let start = RecordTime.parseDay(text[0..<10]) else { return nil }
      day = (head, tail, start)
    }
    guard let hour = pair(base + 11), let minute = pair(base + 14), let second = pair(base + 17), hour < 24,
      minute < 60, second < 60
    else { return nil }
    var fraction: Int64 = 0
    let digits = max(0, text.count - 21)
    if digits > 0 {
      guard text[19] == 0x2E else { return nil }
      for place in 20..<(20 + digits) {
        guard ASCII.isDigit(text[place]) else { return nil }
        fraction = fraction * 10 + Int64(text[place] - 0x30)
      }
      for _ in digits..<9 { fraction *= 10 }
    }
    let clock = (hour * 3600 + minute * 60 + second) * 1_000_000_000
    let (value, overflow) = day.2.addingReportingOverflow(clock + fraction)
    return overflow || day.2 < -9_100_000_000_000_000_000 || day.2 > 9_100_000_000_000_000_000 ? nil : (value, digits)
  }

  private func pair(_ text: UnsafePointer<UInt8>) -> Int64? {
    guard ASCII.isDigit(text[0]), ASCII.isDigit(text[1]) else { return nil }
    return Int64(text[0] - 0x30) * 10 + Int64(text[1] - 0x30)
  }

  @inline(__always) private mutating func blanks() {
    while i < count, p[i] == 0x20 || p[i] == 0x09 { i += 1 }
  }

  private mutating func object(depth: Int) -> Bool {
    i += 1
    blanks()
    if i < count, p[i] == 0x7D {
      i += 1
      return true
    }
    while true {
      blanks()
      let keyStart = i + 1
      guard i < count, p[i] == 0x22, string() else { return false }
      let role = depth == 1 ? self.role(keyStart, i - 1) : .none
      blanks()
      guard i < count, p[i] == 0x3A else { return false }
      i += 1
      blanks()
      guard value(depth: depth, role: role) else { return false }
      blanks()
      guard i < count else { return false }
      if p[i] == 0x2C {
        i += 1
        continue
      }
      guard p[i] == 0x7D else { return false }
      i += 1
      return true
    }
  }

  private mutating func value(depth: Int, role: LineRole) -> Bool {
    guard i < count, depth <= JSONScanner.depthMaximum else { return false }
    let start = i
    switch p[i] {
    case 0x22:
      guard string() else { return false }
      add(start + 1, i - 1, SlotKind.string, role)
    case 0x7B:
      if role != .none { forget(role) }
      let isDeep = depth > Self.slotDepth
      if isDeep { isArray += 1 }
      guard object(depth: depth + 1) else { return false }
      if isDeep {
        isArray -= 1
        add(start, i, SlotKind.raw, .none)
      }
    case 0x5B:
      isArray += 1
      guard array(depth: depth) else { return false }
      isArray -= 1
      add(start, i, SlotKind.raw, role)
    case 0x74:
      guard word("true") else { return false }
      add(start, i, SlotKind.word, role)
    case 0x66:
      guard word("false") else { return false }
      add(start, i, SlotKind.word, role)
    case 0x6E:
      guard word("null") else { return false }
      if role != .none { forget(role) }
    default:
      guard number() else { return false }
      add(start, i, SlotKind.number, role)
    }
    return true
  }

  @inline(__always) private mutating func add(_ start: Int, _ end: Int, _ kind: UInt8, _ role: LineRole) {
    if isArray > 0 { return }
    switch role {
    case .time: timeSlot = slots.count
    case .level: levelSlot = slots.count
    case .namespace: namespace = slots.count
    case .function: function = slots.count
    case .none, .call, .msg: break
    }
    slots.append(
      LineSlot(start: Int32(truncatingIfNeeded: start), end: Int32(truncatingIfNeeded: end), kind: kind, role: role))
  }

  /// The last of equal keys counts: one whose value is no slot undoes those before it.
  private mutating func forget(_ role: LineRole) {
    if isArray > 0 { return }
    switch role {
    case .time: timeSlot = -1
    case .level: levelSlot = -1
    case .namespace: namespace = -1
    case .function: function = -1
    case .none, .call, .msg: break
    }
  }

  private mutating func array(depth: Int) -> Bool {
    i += 1
    blanks()
    if i < count, p[i] == 0x5D {
      i += 1
      return true
    }
    while true {
      blanks()
      guard value(depth: depth + 1, role: .none) else { return false }
      blanks()
      guard i < count else { return false }
      if p[i] == 0x2C {
        i += 1
        continue
      }
      guard p[i] == 0x5D else { return false }
      i += 1
      return true
    }
  }

  private mutating func word(_ text: StaticString) -> Bool {
    guard count - i >= text.utf8CodeUnitCount else { return false }
    for place in 0..<text.utf8CodeUnitCount where p[i + place] != text.utf8Start[place] { return false }
    i += text.utf8CodeUnitCount
    return true
  }

  private mutating func number() -> Bool {
    if i < count, p[i] == 0x2D { i += 1 }
    if i < count, p[i] == 0x30 { i += 1 } else if !digits() { return false }
    if i < count, p[i] == 0x2E {
      i += 1
      if !digits() { return false }
    }
    if i < count, p[i] | 0x20 == 0x65 {
      i += 1
      if i < count, p[i] == 0x2B || p[i] == 0x2D { i += 1 }
      if !digits() { return false }
    }
    return true
  }

  @inline(__always) private mutating func digits() -> Bool {
    let start = i
    while i < count, ASCII.isDigit(p[i]) { i += 1 }
    return i > start
  }
}

extension LineScanner {
  /// Reads a string from its first quote to behind its last.
  @inline(__always) private mutating func string() -> Bool {
    i += 1
    while true {
      // Eight bytes at a time while none of them ends the string, escapes, or lies outside printable ASCII.
      while i + 8 <= count {
        let word = UnsafeRawPointer(p).loadUnaligned(fromByteOffset: i, as: UInt64.self)
        let found = Self.special(word)
        if found != 0 {
          i += found.trailingZeroBitCount >> 3
          break
        }
        i += 8
      }
      guard i < count else { return false }
      switch p[i] {
      case 0x22:
        i += 1
        return true
      case 0x5C:
        hasEscape = true
        guard escape() else { return false }
      case 0..<0x20: return false
      case 0x20..<0x80: i += 1
      default: guard character() else { return false }
      }
    }
  }

  /// The high bit of each byte that is a quote, a backslash, a control character or beyond ASCII; exact up to
  /// the first.
  @inline(__always) private static func special(_ word: UInt64) -> UInt64 {
    let ones: UInt64 = 0x0101_0101_0101_0101
    let highs: UInt64 = 0x8080_8080_8080_8080
    let quote = word ^ (ones &* 0x22)
    let slash = word ^ (ones &* 0x5C)
    let zeros = ((quote &- ones) & ~quote) | ((slash &- ones) & ~slash) | ((word &- ones &* 0x20) & ~word)
    return (zeros | word) & highs
  }

  private mutating func escape() -> Bool {
    i += 1
    guard i < count else { return false }
    switch p[i] {
    case 0x22, 0x5C, 0x2F, 0x62, 0x66, 0x6E, 0x72, 0x74: i += 1
    case 0x75:
      guard i + 4 < count else { return false }
      for place in 1...4 where JSONText.hexValue(p[i + place]) == nil { return false }
      i += 5
    default: return false
    }
    return true
  }

  /// One character of two to four bytes, refused when it is not well-formed UTF-8.
  private mutating func character() -> Bool {
    guard let length = JSONText.characterLength(p[i], i + 1 < count ? p[i + 1] : 0), i + length <= count else {
      return false
    }
    for place in 2..<max(length, 2) where p[i + place] & 0xC0 != 0x80 { return false }
    i += length
    return true
  }

  /// The role of a key, spelled without escapes.
  @inline(__always) private func role(_ start: Int, _ end: Int) -> LineRole {
    switch end - start {
    case 3: return spells(start, "msg") ? .msg : .none
    case 4: return spells(start, "time") ? .time : spells(start, "call") ? .call : .none
    case 5: return spells(start, "level") ? .level : .none
    case 8: return spells(start, "function") ? .function : .none
    case 9: return spells(start, "namespace") ? .namespace : .none
    default: return .none
    }
  }

  @inline(__always) private func spells(_ start: Int, _ name: StaticString) -> Bool {
    for place in 0..<name.utf8CodeUnitCount where p[start + place] != name.utf8Start[place] { return false }
    return true
  }
}
