import FoundationEssentials

/// Registries beyond this machine that are asked by plain HTTP, because somebody said so.
enum InsecureRegistries {
  /// Those of the flags, and those of $APUS_INSECURE_REGISTRIES, which `apus up` hands on to its workers.
  static func chosen(_ flags: [String]) -> Set<String> {
    let named = ProcessInfo.processInfo.environment["APUS_INSECURE_REGISTRIES"] ?? ""
    return Set(flags + named.split(separator: ",").map { $0.filter { $0 != " " } })
  }
}
