import ClusterModel
import Glibc

/// What a worker says about the system it runs on.
enum NodeFacts {
  /// Kernel, distribution, version and architecture of this machine.
  static func info(version: String) -> NodeInfo {
    var name = utsname()
    uname(&name)
    let machine = text(of: &name.machine)
    let architecture = ["x86_64": "amd64", "aarch64": "arm64"][machine] ?? machine
    return NodeInfo(
      kernelVersion: text(of: &name.release), osImage: osImage(), version: version, architecture: architecture)
  }

  private static func osImage() -> String {
    let file = String(decoding: Descriptors.contents(of: "/etc/os-release") ?? [], as: UTF8.self)
    let line = file.split(separator: "\n").first { $0.hasPrefix("PRETTY_NAME=") }
    return line.map { $0.dropFirst("PRETTY_NAME=".count).filter { $0 != "\"" } } ?? "Linux"
  }

  private static func text<Value>(of field: inout Value) -> String {
    withUnsafeBytes(of: &field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
}
