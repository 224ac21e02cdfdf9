/// The version of this build.
enum Version {
  /// Semantic version of `apus` and everything it starts.
  static let current = "0.1.0"
}
