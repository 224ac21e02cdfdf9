/// Writes a tar archive whose bytes depend on nothing but names, contents and executable bits.
enum TarWriter {
  /// Two blocks of zeros end an archive.
  static let end = [UInt8](repeating: 0, count: 2 * TarHeader.blockSize)

  /// The header blocks of an entry, with a pax header before them if a name does not fit.
  static func header(_ entry: ArchiveEntry) -> [UInt8] {
    var name = entry.path.bytes[...]
    var link: ArraySlice<UInt8> = []
    let (mode, type): (Int, Character)
    switch entry.kind {
    case .file(_, let executable): (mode, type) = (executable ? 0o755 : 0o644, "0")
    case .folder:
      (mode, type) = (0o755, "5")
      name.append(UInt8(ascii: "/"))
    case .link(let target):
      (mode, type) = (0o777, "2")
      link = Array(target.utf8)[...]
    }
    var pax: [UInt8] = []
    var prefix: ArraySlice<UInt8> = []
    if name.count > 100 {
      if let split = self.split(name) {
        (prefix, name) = split
      } else {
        pax += PaxRecords.record("path", name)
        name = name.prefix(100)
      }
    }
    if link.count > 100 {
      pax += PaxRecords.record("linkpath", link)
      link = link.prefix(100)
    }
    var blocks: [UInt8] = []
    if !pax.isEmpty {
      blocks += TarHeader.block(
        name: Array("pax".utf8)[...], mode: 0o644, size: Int64(pax.count), type: UInt8(ascii: "x"))
      blocks += pax + padding(Int64(pax.count))
    }
    let typeByte = type.asciiValue ?? 0
    return blocks
      + TarHeader.block(name: name, prefix: prefix, mode: mode, size: entry.size, type: typeByte, link: link)
  }

  /// The zeros that fill the last block of contents.
  static func padding(_ size: Int64) -> [UInt8] {
    let block = Int64(TarHeader.blockSize)
    return [UInt8](repeating: 0, count: Int((block - size % block) % block))
  }

  /// Splits a long name at a slash into at most 155 and 100 bytes.
  private static func split(_ name: ArraySlice<UInt8>) -> (ArraySlice<UInt8>, ArraySlice<UInt8>)? {
    let slashes = name.indices.dropLast().filter { name[$0] == UInt8(ascii: "/") }
    for slash in slashes.reversed() {
      let (head, tail) = (name[..<slash], name[(slash + 1)...])
      if tail.count > 100 { return nil }
      if head.count <= 155 { return (head, tail) }
    }
    return nil
  }
}
