import FoundationEssentials
import FunctionPackage

/// A document or blob of a registry, by its digest.
struct ImageDescriptor: Decodable, Hashable, Sendable {
  struct Platform: Decodable, Hashable, Sendable {
    var architecture: String?
    var os: String?
  }

  var mediaType: String?
  var digest: String
  var size: Int64
  var platform: Platform?
}

/// What a registry answers for a name: a list for several platforms, or the manifest of one.
enum ImageDocument: Hashable, Sendable {
  case index([ImageDescriptor])
  case manifest(ImageManifest)

  /// What a client says it understands.
  static let accepted = [
    "application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json",
  ]

  private struct Raw: Decodable {
    var schemaVersion: Int?
    var mediaType: String?
    var manifests: [ImageDescriptor]?
    var config: ImageDescriptor?
    var layers: [ImageDescriptor]?
    var fsLayers: [Ignored]?
  }

  private struct Ignored: Decodable {}

  /// Reads a document; `what` names it in errors.
  init(_ bytes: [UInt8], what: String, limits: ImageLimits) throws(ImageError) {
    let raw: Raw = try ImageDocument.decode(bytes, what)
    if raw.fsLayers != nil || raw.schemaVersion == 1 {
      throw .unsupported("\(what) is of the old schema 1; push the image again with a current tool")
    }
    if let manifests = raw.manifests {
      for entry in manifests { try Self.check(entry, what) }
      self = .index(manifests)
      return
    }
    guard let config = raw.config, let layers = raw.layers else {
      throw .malformed(what: what, why: "it is neither an index nor a manifest")
    }
    guard layers.count <= limits.layers else {
      throw .unsupported("\(what) has \(layers.count) layers; at most \(limits.layers) are taken")
    }
    for entry in [config] + layers { try Self.check(entry, what) }
    if let other = layers.first(where: { $0.mediaType?.contains("foreign") == true }) {
      throw .unsupported("\(what) has a layer of type \(other.mediaType ?? ""), which is not in the registry")
    }
    self = .manifest(ImageManifest(config: config, layers: layers))
  }

  private static func check(_ descriptor: ImageDescriptor, _ what: String) throws(ImageError) {
    guard PackageArchive.isDigest(descriptor.digest) else {
      throw .malformed(what: what, why: "\"\(descriptor.digest.prefix(80))\" is no sha256 digest")
    }
    guard descriptor.size >= 0 else { throw .malformed(what: what, why: "a size is below 0") }
  }

  static func decode<Value: Decodable>(_ bytes: [UInt8], _ what: String) throws(ImageError) -> Value {
    do { return try JSONDecoder().decode(Value.self, from: Data(bytes)) } catch {
      throw .malformed(what: what, why: words(error))
    }
  }

  private static func words(_ error: any Error) -> String {
    guard let error = error as? DecodingError else { return "\(error)" }
    func at(_ context: DecodingError.Context) -> String {
      let path = context.codingPath.map(\.stringValue).joined(separator: ".")
      return path.isEmpty ? context.debugDescription : "\(path): \(context.debugDescription)"
    }
    switch error {
    case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context): return at(context)
    case .keyNotFound(let key, let context): return "\(key.stringValue) is missing (\(at(context)))"
    @unknown default: return "\(error)"
    }
  }
}

/// The parts of an image for one platform.
struct ImageManifest: Hashable, Sendable {
  var config: ImageDescriptor
  /// The lowest first.
  var layers: [ImageDescriptor]
}
