package import FunctionPackage

/// Why an image could not be had; every case says what to do where that is not plain.
package enum ImageError: Error, Sendable, Hashable {
  /// The registry has no such name, tag or digest.
  case notFound(String)
  /// The registry asks for a name and password, or did not take those it got.
  case unauthorized(image: String, registry: String)
  /// The registry did not answer.
  case unreachable(registry: String, why: String)
  /// The registry answered with an error.
  case answered(registry: String, status: Int, message: String)
  /// What came is not what its digest says.
  case digestMismatch(what: String, expected: String, found: String)
  /// A document of the image cannot be read.
  case malformed(what: String, why: String)
  /// The image is of a kind that cannot be run here.
  case unsupported(String)
  /// The image is for other machines only.
  case noPlatform(image: String, wanted: String, offered: [String])
  /// Something is larger than `limit`.
  case tooLarge(what: String, limit: Int64)
  /// A layer cannot be unpacked.
  case layer(digest: String, ArchiveError)
  /// The disk is full.
  case diskFull(path: String)
  /// The system refused something.
  case system(path: String, doing: String, code: Int32)
}

extension ImageError {
  /// Whether another attempt may go better.
  var mayPass: Bool {
    switch self {
    case .unreachable, .digestMismatch: true
    case .answered(_, let status, _): status >= 500 || status == 429
    default: false
    }
  }

  /// Whether more room on the disk would help.
  var wantsRoom: Bool {
    switch self {
    case .diskFull: true
    case .layer(_, .diskFull): true
    default: false
    }
  }
}

extension ImageError: CustomStringConvertible {
  /// What was wrong, where, and what to do.
  package var description: String {
    switch self {
    case .notFound(let image): "there is no image \(image); check its name and tag"
    case .unauthorized(let image, let registry):
      "the registry \(registry) does not give \(image) to just anybody; check its name, or log in (spec.imageSecret on "
        + "workers, APUS_REGISTRY_USER and APUS_REGISTRY_PASSWORD for apus deploy)"
    case .unreachable(let registry, let why): "the registry \(registry) cannot be reached: \(why)"
    case .answered(let registry, let status, let message):
      "the registry \(registry) answered \(status)\(message.isEmpty ? "" : ": \(message)")"
    case .digestMismatch(let what, let expected, let found):
      "\(what) should be \(expected) but is \(found); it was changed or cut short on the way and is not used"
    case .malformed(let what, let why): "\(what) cannot be read: \(why)"
    case .unsupported(let why): why
    case .noPlatform(let image, let wanted, let offered):
      "\(image) is not for \(wanted), only for \(offered.isEmpty ? "nothing" : offered.joined(separator: ", "))"
    case .tooLarge(let what, let limit): "\(what) is larger than the \(limit) bytes that are taken"
    case .layer(let digest, let error): "layer \(digest): \(Self.words(error))"
    case .diskFull(let path): "no space left for \(path); free some and try again"
    case .system(let path, let doing, let code): "\(doing) \(path): \(SystemText.of(code))"
    }
  }

  /// A package's faults are told to people who can pack it anew; a layer's are not.
  private static func words(_ error: ArchiveError) -> String {
    switch error {
    case .tooManyFiles(let limit, _): "it holds more than \(limit) files"
    case .tooManyBytes(let limit, _): "it holds more than \(limit) bytes unpacked"
    case .packedTooLarge(let limit): "it is larger than \(limit) bytes packed"
    case .bomb(let ratio): "it grows more than \(ratio) times when unpacked; it was not unpacked"
    case .damagedGzip(let why): "it is no sound gzip: \(why)"
    case .damagedArchive(let why, let offset): "it is damaged at byte \(offset): \(why)"
    case .truncated: "it ends too early"
    case .trailingData: "there is data after its end"
    case .digestMismatch(let expected, let found): "unpacked it should be \(expected) but is \(found)"
    case .refused(_, .unsupported("compression by zstd")):
      "it is compressed by zstd; push the image with gzip (docker buildx: compression=gzip,force-compression=true)"
    case .refused(let path, .throughLink): "\(path): the name leads through a file, or through a link to nothing"
    case .refused(let path, .linkOutside(let target)): "\(path): the layer does not hold what it links to, \(target)"
    case .refused(let path, .duplicate): "\(path): a file is to take the place of a folder that is not empty"
    case .refused(let path, .outside): "\(path): the name leads out of the image"
    default: "\(error)"
    }
  }
}
