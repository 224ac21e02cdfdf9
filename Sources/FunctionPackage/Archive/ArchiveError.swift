/// Why a package could not be packed, read or unpacked.
package enum ArchiveError: Error, Sendable, Hashable {
  /// One entry (or file of the folder) is not allowed in a package.
  case refused(path: String, ArchiveRefusal)
  /// More files, folders and links than `limit`; `path` is the first beyond it.
  case tooManyFiles(limit: Int, path: String)
  /// More bytes unpacked than `limit`; `path` is the entry that went beyond it.
  case tooManyBytes(limit: Int64, path: String)
  /// The packed file is larger than `limit` bytes.
  case packedTooLarge(limit: Int64)
  /// The data grows by more than `ratio` times when unpacked.
  case bomb(ratio: Int)
  /// The file is no gzip, or its data is damaged.
  case damagedGzip(String)
  /// The archive inside is damaged; `offset` counts unpacked bytes.
  case damagedArchive(String, offset: Int64)
  /// The file ends before the archive does.
  case truncated
  /// There is more data after the end of the archive.
  case trailingData
  /// The file is not the one that was asked for.
  case digestMismatch(expected: String, found: String)
  /// Text that is no digest.
  case badDigest(String)
  /// There is something where the package should go.
  case exists(String)
  /// A file of the folder changed while it was packed.
  case changed(path: String)
  /// A line of the ignore file cannot be used.
  case badPattern(file: String, line: Int, String)
  /// The disk is full.
  case diskFull(path: String)
  /// The system refused something else.
  case system(path: String, doing: String, code: Int32)
}

/// What is wrong with one entry of a package.
package enum ArchiveRefusal: Sendable, Hashable {
  /// The name leads out of the package.
  case outside
  /// The name begins with `/`.
  case absolute
  /// The name leads through a link, or through a file, of the same package.
  case throughLink
  /// A link whose target leaves the package, or could.
  case linkOutside(target: String)
  /// A hard link.
  case hardLink
  /// A character or block device.
  case device
  /// A named pipe.
  case fifo
  /// A unix socket.
  case socket
  /// Set-user-id, set-group-id or sticky bits.
  case specialBits
  /// The name is there twice.
  case duplicate
  /// The name is empty, too long, too deep, not UTF-8, or has control characters.
  case badName(String)
  /// A kind of entry that no package needs.
  case unsupported(String)
}

extension ArchiveError: CustomStringConvertible {
  /// What was wrong, where, and what to do.
  package var description: String {
    switch self {
    case .refused(let path, let refusal): "\(path): \(refusal)"
    case .tooManyFiles(let limit, let path):
      "\(path): a package may hold \(limit) files and folders; ignore what is not needed in .apusignore"
    case .tooManyBytes(let limit, let path):
      "\(path): a package may hold \(limit) bytes unpacked; ignore what is not needed in .apusignore"
    case .packedTooLarge(let limit): "the package is larger than \(limit) bytes packed; ignore what is not needed"
    case .bomb(let ratio): "the package grows more than \(ratio) times when unpacked; it was not unpacked"
    case .damagedGzip(let reason): "the package is no sound gzip file: \(reason); pack it again"
    case .damagedArchive(let reason, let offset): "the package is damaged at byte \(offset): \(reason); pack it again"
    case .truncated: "the package ends too early; transfer it again"
    case .trailingData: "there is data after the end of the package; pack it again"
    case .digestMismatch(let expected, let found):
      "the package should be \(expected) but is \(found); transfer it again"
    case .badDigest(let text): "'\(text)' is no digest; it is sha256: and 64 hexadecimal digits"
    case .exists(let path): "\(path) exists already; remove it first"
    case .changed(let path): "\(path) changed while it was packed; deploy again"
    case .badPattern(let file, let line, let reason): "\(file):\(line): \(reason)"
    case .diskFull(let path): "no space left for \(path); free some and try again"
    case .system(let path, let doing, let code): "\(doing) \(path): \(SystemFile.text(of: code))"
    }
  }
}

extension ArchiveRefusal: CustomStringConvertible {
  /// The refusal in words, with what to do.
  package var description: String {
    switch self {
    case .outside: "the name leads out of the package; nothing outside the folder can be packed"
    case .absolute: "the name begins with /; names in a package are relative"
    case .throughLink: "the name leads through a link or a file of the same package"
    case .linkOutside(let target): "the link to '\(target)' points outside the package; copy the file instead"
    case .hardLink: "hard links are not allowed in a package; copy the file instead"
    case .device: "devices are not allowed in a package; ignore it in .apusignore"
    case .fifo: "named pipes are not allowed in a package; ignore it in .apusignore"
    case .socket: "sockets are not allowed in a package; ignore it in .apusignore"
    case .specialBits: "set-user-id, set-group-id and sticky bits are not allowed in a package; chmod them away"
    case .duplicate: "the name is in the package twice"
    case .badName(let reason): "the name \(reason)"
    case .unsupported(let kind): "\(kind) is not allowed in a package"
    }
  }
}
