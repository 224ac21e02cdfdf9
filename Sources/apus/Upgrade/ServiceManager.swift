import FoundationEssentials
import Glibc

/// The service manager that started this process, if it wants to be told (sd_notify(3)).
enum ServiceManager {
  /// Sends lines such as `READY=1` to the socket named by $NOTIFY_SOCKET; nothing happens without one.
  static func tell(_ lines: String) {
    guard let name = EnvironmentVariables["NOTIFY_SOCKET"], let first = name.utf8.first,
      first == UInt8(ascii: "/") || first == UInt8(ascii: "@")
    else { return }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    var path = Array(name.utf8)
    guard path.count < MemoryLayout.size(ofValue: address.sun_path) else { return }
    // A name of the abstract kind begins with a zero byte.
    if first == UInt8(ascii: "@") { path[0] = 0 }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
    let number = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard number >= 0 else { return }
    let descriptor = Descriptor(number)
    let length = socklen_t(MemoryLayout<sa_family_t>.size + path.count)
    let text = Array(lines.utf8)
    withUnsafePointer(to: address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
        _ = sendto(descriptor.number, text, text.count, Int32(MSG_NOSIGNAL), raw, length)
      }
    }
  }
}
