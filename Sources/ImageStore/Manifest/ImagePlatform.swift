/// What machines an image is for.
package struct ImagePlatform: Hashable, Sendable, CustomStringConvertible {
  /// `linux` for everything that runs here.
  package var system: String
  /// `amd64`, `arm64` …
  package var architecture: String

  /// A platform.
  package init(system: String = "linux", architecture: String) {
    self.system = system
    self.architecture = architecture
  }

  /// This machine's.
  package static let current: ImagePlatform = {
    #if arch(x86_64)
      ImagePlatform(architecture: "amd64")
    #else
      ImagePlatform(architecture: "arm64")
    #endif
  }()

  /// `linux/amd64`
  package var description: String { "\(system)/\(architecture)" }
}
