/// The name of a container image: `[REGISTRY/]NAME[:TAG][@sha256:HEX]`, as people type it.
///
/// A name without a registry is Docker Hub's (`docker.io`), and there one without a `/` lies in `library/`.
package struct ImageReference: Hashable, Sendable, CustomStringConvertible {
  /// Longest reference in bytes.
  package static let bytesMax = 1024
  /// The registry of names that tell none.
  package static let hub = "docker.io"

  /// Host and, where it is given, port of the registry.
  package let registry: String
  /// The image's path in the registry: lower case, at most 255 bytes.
  package let repository: String
  /// What moves: `latest` when neither a tag nor a digest is given.
  package let tag: String?
  /// `sha256:HEX` of the manifest or index; with it, the image never changes.
  package let digest: String?

  /// Why text is no reference.
  package struct Flaw: Error, Hashable, Sendable, CustomStringConvertible {
    /// The sentence, with what to write instead.
    package let description: String
  }

  /// Reads a reference.
  package init(_ text: String) throws(Flaw) {
    func flaw(_ why: String) -> Flaw { Flaw(description: "\"\(text.prefix(80))\" is not an image: \(why)") }
    guard !text.isEmpty, text.utf8.count <= Self.bytesMax else {
      throw flaw("it is empty or longer than \(Self.bytesMax) bytes; use REGISTRY/NAME:TAG")
    }
    let (named, digest) = Self.cut(text, at: "@")
    if let digest, let problem = Schema.Rule.digest.check(digest) { throw flaw(problem) }
    let slash = named.lastIndex(of: "/")
    let colon = named.lastIndex(of: ":").flatMap { colon in slash.map { colon > $0 } ?? true ? colon : nil }
    let tag = colon.map { String(named[named.index(after: $0)...]) }
    var parts = (colon.map { named[..<$0] } ?? named[...]).split(separator: "/", omittingEmptySubsequences: false)
    var registry = Self.hub
    if parts.count > 1, let first = parts.first, first.contains(".") || first.contains(":") || first == "localhost" {
      registry = String(parts.removeFirst())
    }
    guard Self.isHost(registry) else { throw flaw("\(registry) is no host; use HOST or HOST:PORT") }
    if registry == Self.hub, parts.count == 1 { parts.insert("library", at: 0) }
    let repository = parts.joined(separator: "/")
    guard parts.allSatisfy(Self.isPathPart), repository.utf8.count <= 255 else {
      throw flaw("its name has other characters than a-z, 0-9 and single ., _ or - between them")
    }
    if let tag, !Self.isTag(tag) {
      throw flaw("its tag has other characters than letters, digits, _, . and -, or more than 128")
    }
    self.registry = registry
    self.repository = repository
    self.tag = tag ?? (digest == nil ? "latest" : nil)
    self.digest = digest
  }

  private init(registry: String, repository: String, tag: String?, digest: String?) {
    (self.registry, self.repository, self.tag, self.digest) = (registry, repository, tag, digest)
  }

  /// The same image with a digest, so that it cannot change.
  package func pinned(_ digest: String) -> ImageReference {
    ImageReference(registry: registry, repository: repository, tag: tag, digest: digest)
  }

  /// The whole reference, registry and all.
  package var description: String {
    "\(registry)/\(repository)" + (tag.map { ":\($0)" } ?? "") + (digest.map { "@\($0)" } ?? "")
  }

  /// Whether the registry is this machine's own.
  package var isLoopback: Bool {
    let host = registry.hasPrefix("[") ? registry.prefix { $0 != "]" }.dropFirst() : registry.prefix { $0 != ":" }
    if host == "localhost" || host == "::1" { return true }
    // An address, and no name that begins like one: who owns the name chooses where it leads.
    return AddressRange.address(String(host)).map { $0.count == 4 && $0[0] == 127 } ?? false
  }

  private static func cut(_ text: String, at separator: Character) -> (String, String?) {
    guard let index = text.firstIndex(of: separator) else { return (text, nil) }
    return (String(text[..<index]), String(text[text.index(after: index)...]))
  }

  private static func isHost(_ text: String) -> Bool {
    var host = text[...]
    if host.hasPrefix("[") {
      guard let end = host.firstIndex(of: "]") else { return false }
      let address = host[host.index(after: host.startIndex)..<end].utf8
      guard !address.isEmpty, address.allSatisfy({ isHex($0) || $0 == 0x3a || $0 == 0x2e }) else { return false }
      host = "x" + host[host.index(after: end)...]
    }
    let (name, port) = cut(String(host), at: ":")
    if let port, UInt16(port) == nil || port == "0" { return false }
    let labels = name.utf8.split(separator: 0x2e, omittingEmptySubsequences: false)
    return name.utf8.count <= 253
      && labels.allSatisfy { label in
        !label.isEmpty && label.first != 0x2d && label.last != 0x2d
          && label.allSatisfy { isLower($0) || isDigit($0) || (0x41...0x5a).contains($0) || $0 == 0x2d }
      }
  }

  /// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
  private static func isPathPart(_ part: some StringProtocol) -> Bool {
    var separators: [UInt8] = []
    var sawLetter = false
    for byte in part.utf8 {
      if isLower(byte) || isDigit(byte) {
        (separators, sawLetter) = ([], true)
        continue
      }
      guard sawLetter else { return false }
      separators.append(byte)
      let fits = separators == [0x2e] || separators == [0x5f] || separators == [0x5f, 0x5f]
      guard fits || separators.allSatisfy({ $0 == 0x2d }) else { return false }
    }
    return sawLetter && separators.isEmpty
  }

  private static func isTag(_ tag: String) -> Bool {
    let word = tag.utf8.allSatisfy {
      isLower($0) || isDigit($0) || (0x41...0x5a).contains($0) || $0 == 0x5f || $0 == 0x2e || $0 == 0x2d
    }
    return word && (1...128).contains(tag.utf8.count) && tag.utf8.first != 0x2e && tag.utf8.first != 0x2d
  }

  private static func isLower(_ byte: UInt8) -> Bool { (0x61...0x7a).contains(byte) }
  private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
  private static func isHex(_ byte: UInt8) -> Bool {
    isDigit(byte) || (0x61...0x66).contains(byte) || (0x41...0x46).contains(byte)
  }
}
