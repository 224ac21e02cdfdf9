import CLinux

/// The processors this process may run on.
enum Processors {
  /// How many: those of its affinity mask (taskset, a container's cpuset), at least one.
  static var usable: Int { Int(apus_processors()) }
}
