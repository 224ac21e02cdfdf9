/// Which names of a folder stay out of its package: a small part of what .gitignore knows.
///
/// One pattern a line; `#` begins a comment. `*` and `?` stand for characters within a component, `**` for any number
/// of components. A pattern with a `/` in front or in the middle counts from the top, another at any depth; one that
/// ends in `/` is for folders only; `!` takes back what an earlier pattern ignored. The last match counts.
package struct IgnoreRules: Sendable {
  /// What no package needs.
  package static let defaults = [
    ".git/", ".apusignore", "__pycache__/", "*.pyc", "/.build/", "/node_modules/.cache/", "/cases/",
  ]
  /// Most patterns in all.
  static let patternsMax = 1_000

  private struct Pattern: Sendable {
    let components: [[UInt8]]
    let foldersOnly: Bool
    let takesBack: Bool
  }

  private var patterns: [Pattern] = []

  /// The default patterns and `more`, as they stand in a file.
  package init(_ more: [String] = [], file: String = ".apusignore") throws(ArchiveError) {
    for line in Self.defaults { if let pattern = Self.parse(line) { patterns.append(pattern) } }
    for (index, line) in more.enumerated() {
      guard let pattern = Self.parse(line) else { continue }
      guard patterns.count < Self.patternsMax else {
        throw .badPattern(file: file, line: index + 1, "more than \(Self.patternsMax) patterns")
      }
      guard pattern.components.count <= EntryPath.depthMax, line.utf8.count <= EntryPath.bytesMax else {
        throw .badPattern(file: file, line: index + 1, "the pattern is too long")
      }
      patterns.append(pattern)
    }
  }

  /// Whether a name (and, if it is a folder, all below it) stays out.
  package func ignores(_ path: String, isFolder: Bool) -> Bool {
    let parts = path.utf8.split(separator: UInt8(ascii: "/")).map { Array($0) }
    for pattern in patterns.reversed() where !pattern.foldersOnly || isFolder {
      if Self.matches(pattern.components[...], parts[...]) { return !pattern.takesBack }
    }
    return false
  }

  private static func parse(_ line: String) -> Pattern? {
    var text = line.utf8[...]
    while let last = text.last, last == 0x20 || last == 0x0d || last == 0x09 { text.removeLast() }
    guard let first = text.first, first != UInt8(ascii: "#") else { return nil }
    let takesBack = first == UInt8(ascii: "!")
    if takesBack { text.removeFirst() }
    let foldersOnly = text.last == UInt8(ascii: "/")
    if foldersOnly { text.removeLast() }
    let anchored = text.contains(UInt8(ascii: "/"))
    let parts = text.split(separator: UInt8(ascii: "/")).map { Array($0) }
    guard !parts.isEmpty else { return nil }
    let components = anchored ? parts : [Array("**".utf8)] + parts
    return Pattern(components: components, foldersOnly: foldersOnly, takesBack: takesBack)
  }

  /// Matches components one by one; `**` takes as few as it can and more when that fails.
  private static func matches(_ pattern: ArraySlice<[UInt8]>, _ path: ArraySlice<[UInt8]>) -> Bool {
    glob(pattern, path, isAny: { $0.elementsEqual("**".utf8) }) { component($0[...], $1[...]) }
  }

  private static func component(_ pattern: ArraySlice<UInt8>, _ name: ArraySlice<UInt8>) -> Bool {
    glob(pattern, name, isAny: { $0 == UInt8(ascii: "*") }) { $0 == UInt8(ascii: "?") || $0 == $1 }
  }

  /// The classic wildcard match without recursion: on a mismatch the last wildcard takes one element more.
  private static func glob<Element>(
    _ pattern: ArraySlice<Element>, _ subject: ArraySlice<Element>, isAny: (Element) -> Bool,
    equal: (Element, Element) -> Bool
  ) -> Bool {
    var (p, s) = (pattern.startIndex, subject.startIndex)
    var retry: (pattern: Int, subject: Int)?
    while s < subject.endIndex {
      if p < pattern.endIndex, isAny(pattern[p]) {
        retry = (p, s)
        p += 1
      } else if p < pattern.endIndex, equal(pattern[p], subject[s]) {
        p += 1
        s += 1
      } else if let last = retry {
        retry = (last.pattern, last.subject + 1)
        p = last.pattern + 1
        s = last.subject + 1
      } else {
        return false
      }
    }
    while p < pattern.endIndex, isAny(pattern[p]) { p += 1 }
    return p == pattern.endIndex
  }
}
