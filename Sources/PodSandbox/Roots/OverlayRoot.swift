import CLinux
import Glibc

/// The root of a pod made from a container image: its layers, one over the other, as a mount that hangs nowhere yet.
package enum OverlayRoot {
  /// Most layers, the platform's own among them.
  package static let layersMax = Int(APUS_IMAGE_LAYERS_MAX)

  /// Bounds of what a writable root takes; it is kept in memory that counts as the pod's.
  package struct Writes: Sendable, Hashable {
    /// Bytes of files that are new or changed.
    package var bytes: UInt64
    /// New or changed files and folders.
    package var inodes: UInt64

    /// Bounds; neither is 0.
    package init(bytes: UInt64, inodes: UInt64) {
      self.bytes = bytes
      self.inodes = inodes
    }
  }

  /// Opens the root of `layers` (folders, the topmost first, at least two); files of the image's user n belong to host
  /// user `firstUser` + n in it. Without `writes` it is read-only. The descriptor is the caller's to close.
  @concurrent
  package static func open(
    layers: [String], firstUser: UInt32, writes: Writes?
  ) async throws(SandboxError) -> CInt {
    guard (2...layersMax).contains(layers.count) else {
      throw .invalidSpec("an image's root is of 2 to \(layersMax) layers, not \(layers.count)")
    }
    let paths = layers.map { UnsafePointer(strdup($0)) }
    defer { for path in paths { free(UnsafeMutablePointer(mutating: path)) } }
    var step = APUS_IMAGE_USERS_STEP
    let descriptor = paths.withUnsafeBufferPointer { paths in
      var root = apus_image_root()
      root.layers = paths.baseAddress
      root.count = paths.count
      root.first_user = firstUser
      root.upper_bytes = writes?.bytes ?? 0
      root.upper_inodes = writes?.inodes ?? 0
      return apus_image_root(&root, &step)
    }
    let code = errno
    guard descriptor >= 0 else { throw .host(doing: words(step), errno: code) }
    return descriptor
  }

  private static func words(_ step: apus_image_step) -> String {
    switch step {
    case APUS_IMAGE_USERS_STEP: "making the user namespace of an image's root"
    case APUS_IMAGE_LAYER_STEP: "mapping the owners of an image's layer (its file system must allow idmapped mounts)"
    case APUS_IMAGE_OVERLAY_STEP: "stacking the layers of an image (Linux 6.15 with overlayfs is needed)"
    case APUS_IMAGE_UPPER_STEP: "making the memory for writes of an image's root"
    default: "mounting the overlay of an image's root (Linux 6.15 with overlayfs is needed)"
    }
  }
}
