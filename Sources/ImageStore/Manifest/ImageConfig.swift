import FunctionPackage

/// What an image says about running it.
package struct ImageConfig: Codable, Hashable, Sendable {
  /// What machines it is for.
  package var architecture: String
  /// `linux`.
  package var system: String
  /// The program and its first arguments.
  package var entrypoint: [String]
  /// The arguments that may be replaced.
  package var command: [String]
  /// `NAME=value`.
  package var environment: [String]
  /// Where the program starts; empty for the root.
  package var directory: String
  /// `USER[:GROUP]`, numbers or names; empty for 0.
  package var user: String
  /// The signal that asks it to end, as the image writes it; nil for SIGTERM.
  package var stopSignal: String?
  /// The digests of the unpacked layers, the lowest first.
  package var diffIDs: [String]

  private struct Raw: Decodable {
    struct Run: Decodable {
      var User: String?
      var Env: [String]?
      var Entrypoint: [String]?
      var Cmd: [String]?
      var WorkingDir: String?
      var StopSignal: String?
    }

    struct Layers: Decodable {
      var diff_ids: [String]?
    }

    var architecture: String?
    var os: String?
    var config: Run?
    var rootfs: Layers?
  }

  /// Reads an image's configuration of as many layers as its manifest has; `what` names it in errors.
  package init(_ bytes: [UInt8], layers: Int, what: String) throws(ImageError) {
    let raw: Raw = try ImageDocument.decode(bytes, what)
    guard let diffIDs = raw.rootfs?.diff_ids, diffIDs.count == layers else {
      throw .malformed(what: what, why: "it names \(raw.rootfs?.diff_ids?.count ?? 0) layers, its manifest \(layers)")
    }
    guard diffIDs.allSatisfy(PackageArchive.isDigest) else {
      throw .malformed(what: what, why: "rootfs.diff_ids holds something else than sha256 digests")
    }
    guard !diffIDs.isEmpty else { throw .unsupported("\(what): the image has no layer") }
    self.diffIDs = diffIDs
    architecture = raw.architecture ?? ""
    system = raw.os ?? ""
    entrypoint = raw.config?.Entrypoint ?? []
    command = raw.config?.Cmd ?? []
    environment = (raw.config?.Env ?? []).filter { $0.contains("=") && !$0.hasPrefix("=") }
    directory = raw.config?.WorkingDir ?? ""
    user = raw.config?.User ?? ""
    stopSignal = raw.config?.StopSignal
    let texts = entrypoint + command + environment + [directory, user]
    guard !texts.contains(where: { $0.utf8.contains(0) }) else {
      throw .malformed(what: what, why: "a text in it holds a NUL")
    }
    guard directory.isEmpty || directory.hasPrefix("/") else {
      throw .malformed(what: what, why: "the working directory \"\(directory.prefix(80))\" is not absolute")
    }
  }

  /// The machines it is for.
  package var platform: ImagePlatform { ImagePlatform(system: system, architecture: architecture) }
}
