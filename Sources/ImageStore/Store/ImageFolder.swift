import FoundationEssentials
import FunctionPackage
import Glibc

/// Where images lie on a node: `layers/HEX` folders, `images/HEX.json` with what is known of an image, the platform's
/// own layer, and, while something is fetched, files and folders that begin with a dot.
///
/// The time of an image's record is when it was last used. A record is written when all its layers are there, and
/// removed before any of them.
struct ImageFolder: Sendable {
  /// Changes when what is in the platform's layer does.
  static let baseName = "base-1"
  private static let downloadPrefix = ".download-"
  private static let removingPrefix = ".removing-"

  let path: String
  var layers: String { "\(path)/layers" }
  private var images: String { "\(path)/images" }
  var base: String { "\(path)/\(Self.baseName)" }

  func layer(_ diffID: String) -> String { "\(layers)/\(diffID.dropFirst(7))" }
  func download() -> String { "\(layers)/\(Self.downloadPrefix)\(UInt64.random(in: 0 ... .max))" }
  private func record(_ digest: String) -> String { "\(images)/\(digest.dropFirst(7)).json" }

  /// Makes the folders; answers what an interrupted process left there, for removal at leisure: nothing else takes these
  /// names.
  func open() throws(ImageError) -> [String] {
    for folder in [path, layers, images] {
      // The worker's alone: files in it belong to whatever users an image has.
      guard mkdir(folder, 0o700) == 0 || errno == EEXIST else { throw SystemText.error(folder, "making") }
    }
    let left = [path, layers, images].flatMap { folder in
      Self.names(in: folder).filter { $0.hasPrefix(".") }.map { "\(folder)/\($0)" }
    }
    try makeBase()
    return left
  }

  /// Where a pod with `egress: internet` asks for names; others have no route there.
  private static let resolvers = "nameserver 192.0.0.3\n"

  /// The layer above those of the image: real folders where the pod's own mounts go, whatever the image has there, and
  /// the files that are the platform's.
  private func makeBase() throws(ImageError) {
    var status = stat()
    if lstat(base, &status) == 0 {
      if FileManager.default.contents(atPath: base + "/etc/resolv.conf") == Data(Self.resolvers.utf8) { return }
      // Of an older version; no pod runs while a store opens.
      try? PackageArchive.remove(base)
    }
    let temporary = "\(path)/.base-\(UInt64.random(in: 0 ... .max))"
    for folder in ["", "/proc", "/dev", "/tmp", "/etc", "/var", "/var/openfaas", "/var/openfaas/secrets"] {
      guard mkdir(temporary + folder, 0o755) == 0, chmod(temporary + folder, 0o755) == 0 else {
        throw SystemText.error(temporary + folder, "making")
      }
    }
    let files = [
      "/etc/passwd": "", "/etc/resolv.conf": Self.resolvers, "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    ]
    for (name, text) in files { try Self.write(Array(text.utf8), to: temporary + name, mode: 0o644) }
    guard rename(temporary, base) == 0 else { throw SystemText.error(base, "naming") }
  }

  /// What is here: images whose layers all are, with when they were last used (milliseconds since 1970), and layers.
  func contents() -> (images: [(image: StoredImage, lastUse: Int64)], layers: Set<String>) {
    let names = Self.names(in: layers).map { "sha256:\($0)" }
    let present = Set(names.filter(PackageArchive.isDigest))
    var found: [(StoredImage, Int64)] = []
    for name in Self.names(in: images) where name.hasSuffix(".json") {
      let place = "\(images)/\(name)"
      var status = stat()
      guard let image = read(place), "sha256:\(name.dropLast(5))" == image.digest,
        image.layers.allSatisfy({ present.contains($0.diffID) }), lstat(place, &status) == 0
      else {
        unlink(place)
        continue
      }
      found.append((image, Int64(status.st_mtim.tv_sec) * 1000 + Int64(status.st_mtim.tv_nsec) / 1_000_000))
    }
    return (found, present)
  }

  private func read(_ place: String) -> StoredImage? {
    guard let data = FileManager.default.contents(atPath: place) else { return nil }
    return try? JSONDecoder().decode(StoredImage.self, from: data)
  }

  /// Notes an image whose layers are all here.
  func write(_ image: StoredImage) throws(ImageError) {
    let place = record(image.digest)
    let data: Data
    do { data = try JSONEncoder().encode(image) } catch {
      throw .malformed(what: "what is known of \(image.digest)", why: "\(error)")
    }
    let temporary = "\(images)/.\(UInt64.random(in: 0 ... .max))"
    do throws(ImageError) {
      try Self.write(Array(data), to: temporary, mode: 0o600)
      guard rename(temporary, place) == 0 else { throw SystemText.error(place, "naming") }
    } catch {
      unlink(temporary)
      throw error
    }
  }

  /// Notes that an image is used at a time.
  func touch(_ digest: String, at milliseconds: Int64) {
    let time = timespec(tv_sec: Int(milliseconds / 1000), tv_nsec: Int(milliseconds % 1000) * 1_000_000)
    _ = [time, time].withUnsafeBufferPointer { utimensat(AT_FDCWD, record(digest), $0.baseAddress, 0) }
  }

  func removeRecord(_ digest: String) { unlink(record(digest)) }

  /// Whether a layer's folder is there.
  func has(layer diffID: String) -> Bool { access(layer(diffID), F_OK) == 0 }

  /// Takes a layer away at once, so that it can be fetched anew; answers what is to be removed at leisure, nil when it
  /// cannot be taken away now.
  func setAside(layer diffID: String) -> String? {
    let aside = "\(layers)/\(Self.removingPrefix)\(UInt64.random(in: 0 ... .max))"
    return rename(layer(diffID), aside) == 0 ? aside : nil
  }

  private static func write(_ bytes: [UInt8], to place: String, mode: mode_t) throws(ImageError) {
    let file = Glibc.open(place, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
    guard file >= 0 else { throw SystemText.error(place, "making") }
    defer { close(file) }
    guard Glibc.write(file, bytes, bytes.count) == bytes.count, fchmod(file, mode) == 0, fsync(file) == 0 else {
      throw SystemText.error(place, "writing")
    }
  }

  private static func names(in folder: String) -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }
}
