import ClusterModel

/// The arguments of `apus invoke`, read as curl reads them.
enum CallArguments {
  /// The function's name, and path and query as they go behind it.
  static func split(_ target: String) -> (name: String, path: String) {
    guard let end = target.firstIndex(where: { $0 == "/" || $0 == "?" }) else { return (target, "") }
    return (String(target[..<end]), String(target[end...]))
  }

  /// Name and value of a `-H` line.
  static func header(_ line: String) throws(Failure) -> (String, String) {
    guard let colon = line.firstIndex(of: ":"), colon != line.startIndex else {
      throw .usage("-H takes \"Name: value\", not \"\(line)\"")
    }
    let value = line[line.index(after: colon)...].drop { $0 == " " }
    return (String(line[..<colon]), String(value))
  }

  /// The content type of a body given as text.
  static func contentType(of text: String) -> String {
    if text.first == "{" || text.first == "[", (try? JSONValue(bytes: text.utf8)) != nil { return "application/json" }
    return "text/plain; charset=utf-8"
  }
}
