/// A checked name inside a package: relative, without `.` and `..`, printable UTF-8, as bytes.
///
/// Names are compared by their bytes; two that only look the same are two.
package struct EntryPath: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// Longest name in bytes.
  package static let bytesMax = 1_024
  /// Longest component in bytes.
  package static let componentBytesMax = 255
  /// Most components.
  package static let depthMax = 64

  let bytes: [UInt8]

  /// The name as text, components separated by `/`.
  package var text: String { String(decoding: bytes, as: UTF8.self) }
  /// The name as text.
  package var description: String { text }

  /// How many folders lie above.
  var depth: Int { bytes.count { $0 == UInt8(ascii: "/") } }

  /// The folder the name lies in; nil at the top.
  var parent: EntryPath? {
    bytes.lastIndex(of: UInt8(ascii: "/")).map { EntryPath(checked: Array(bytes[..<$0])) }
  }

  /// The last component.
  var lastComponent: String {
    let start = bytes.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0
    return String(decoding: bytes[start...], as: UTF8.self)
  }

  /// Checks the raw bytes of a name; leading `./` and a trailing `/` are dropped. Nil for the top folder itself.
  static func check(_ raw: some Collection<UInt8>) throws(ArchiveError) -> EntryPath? {
    let raw = Array(raw)
    func refuse(_ refusal: ArchiveRefusal) -> ArchiveError { .refused(path: printable(raw), refusal) }
    guard !raw.isEmpty else { throw refuse(.badName("is empty")) }
    guard raw.count <= bytesMax + 1 else { throw refuse(.badName("is longer than \(bytesMax) bytes")) }
    guard raw.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else { throw refuse(.badName("has a control character")) }
    guard String(validating: raw, as: UTF8.self) != nil else { throw refuse(.badName("is not UTF-8")) }
    guard raw[0] != UInt8(ascii: "/") else { throw refuse(.absolute) }
    var parts = raw.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    if parts.last?.isEmpty == true { parts.removeLast() }
    while let first = parts.first, first.elementsEqual([UInt8(ascii: ".")]) { parts.removeFirst() }
    for part in parts {
      if part.isEmpty { throw refuse(.badName("has an empty component")) }
      if part.elementsEqual("..".utf8) { throw refuse(.outside) }
      if part.elementsEqual(".".utf8) { throw refuse(.badName("has a component '.'")) }
      if part.count > componentBytesMax {
        throw refuse(.badName("has a component of more than \(componentBytesMax) bytes"))
      }
    }
    guard parts.count <= depthMax else { throw refuse(.badName("has more than \(depthMax) components")) }
    guard !parts.isEmpty else { return nil }
    let path = EntryPath(checked: Array(parts.joined(separator: [UInt8(ascii: "/")])))
    guard path.bytes.count <= bytesMax else { throw refuse(.badName("is longer than \(bytesMax) bytes")) }
    return path
  }

  /// Takes bytes that are known to be a checked name.
  init(checked bytes: [UInt8]) {
    self.bytes = bytes
  }

  /// The name of something in this folder.
  func appending(_ component: some Sequence<UInt8>) -> EntryPath {
    EntryPath(checked: bytes + [UInt8(ascii: "/")] + component)
  }

  /// Whether a link at this name may have this target: relative, `..` only in front and never above the top.
  ///
  /// A component after a name could itself be a link, so `..` behind one says nothing about where it leads; in front,
  /// the folders are real. Every link of a package obeys this, so none leads out, alone or chained.
  func allowsLink(to target: [UInt8]) -> Bool {
    guard !target.isEmpty, target.count <= Self.bytesMax, target[0] != UInt8(ascii: "/") else { return false }
    guard target.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }), String(validating: target, as: UTF8.self) != nil else {
      return false
    }
    var up = 0
    var sawName = false
    for part in target.split(separator: UInt8(ascii: "/")) where !part.elementsEqual(".".utf8) {
      if part.elementsEqual("..".utf8) {
        up += 1
        if sawName || up > depth { return false }
      } else {
        sawName = true
      }
    }
    return true
  }

  /// Orders as the archive lists them.
  package static func < (left: EntryPath, right: EntryPath) -> Bool {
    left.bytes.lexicographicallyPrecedes(right.bytes)
  }

  /// Any bytes as one line of text for a message, shortened.
  static func printable(_ raw: some Collection<UInt8>) -> String {
    let text = String(decoding: raw.prefix(120), as: UTF8.self)
    let shown = text.unicodeScalars.map { scalar in
      scalar.value < 0x20 || scalar.value == 0x7f ? "\\x" + hex(UInt8(scalar.value)) : String(scalar)
    }
    return shown.joined() + (raw.count > 120 ? "…" : "")
  }

  static func hex(_ byte: UInt8) -> String {
    let digits = Array("0123456789abcdef")
    return String([digits[Int(byte >> 4)], digits[Int(byte & 15)]])
  }
}
