/// Where a pod finds its secrets below /var/openfaas/secrets. Pure.
///
/// A secret of several keys is a folder of files, `name/key`. One whose only key is `value` or its own name is one
/// file, `name`, as OpenFaaS functions expect it.
enum SecretFiles {
  /// The files by path.
  static func files(of secrets: [String: [String: [UInt8]]]) -> [String: [UInt8]] {
    var files: [String: [UInt8]] = [:]
    for (name, values) in secrets {
      for (key, value) in values {
        let single = values.count == 1 && (key == "value" || key == name)
        files[single ? name : "\(name)/\(key)"] = value
      }
    }
    return files
  }
}
