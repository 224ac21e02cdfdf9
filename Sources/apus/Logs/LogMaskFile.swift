import ClusterModel

/// The masks of log lines that an operator chose.
enum LogMaskFile {
  /// Bytes of a file of masks at most.
  static let bytesMaximum = 64 << 10

  /// Those of the flag, else of $APUS_LOG_MASKS, which `apus up` hands on to its workers: `off`, or a file of patterns.
  static func masks(_ flag: String?) throws(Failure) -> LogMasks {
    guard let path = flag ?? EnvironmentVariables["APUS_LOG_MASKS"], !path.isEmpty else { return .standard }
    if path == "off" { return .off }
    let reader = try FileReader(path)
    var bytes: [UInt8] = []
    while bytes.count <= bytesMaximum, let more = try reader.read(bytesMaximum + 1) { bytes += more }
    guard bytes.count <= bytesMaximum else {
      throw Failure("\(path) has more than \(bytesMaximum) bytes of log masks")
    }
    do throws(LogMaskFault) { return try LogMasks(file: String(decoding: bytes, as: UTF8.self)) } catch {
      throw Failure(
        "\(path), \(error)", next: "Each line is an extended regular expression (POSIX), or a comment behind #.")
    }
  }
}
