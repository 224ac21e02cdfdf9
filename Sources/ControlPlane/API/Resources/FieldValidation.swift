internal import ClusterAPI
internal import ClusterModel
internal import HTTPService

/// What happens to fields that the schema does not know (`fieldValidation`).
enum FieldValidation {
  /// An object with its unknown fields treated as asked, and the warnings about those that were dropped.
  ///
  /// `Strict` refuses them at once (400); `Warn` and `Ignore` drop them; without the parameter the object passes as it
  /// is, and admission collects unknown fields together with every other fault (422).
  static func apply(
    _ query: QueryParameters, to object: JSONValue, _ kind: ResourceKind
  ) throws(APIStatus) -> (object: JSONValue, warnings: [String]) {
    guard let mode = query["fieldValidation"] else { return (object, []) }
    guard ["Strict", "Warn", "Ignore"].contains(mode) else {
      throw .badRequest("fieldValidation=\(mode) is none of Strict, Warn, Ignore")
    }
    let unknown = Schemas.object(kind).faults(in: object).filter(\.unknown)
    guard !unknown.isEmpty else { return (object, []) }
    if mode == "Strict" {
      let fields = unknown.map { "unknown field \"\($0.path)\"" }.joined(separator: ", ")
      let hint = unknown.first.map { " (\($0.message))" } ?? ""
      throw .badRequest("strict decoding error: \(fields)\(hint)")
    }
    let kept = unknown.reduce(object) { $0.removing(path: $1.path) }
    return (kept, mode == "Warn" ? unknown.map { "unknown field \"\($0.path)\"" } : [])
  }
}

extension JSONValue {
  /// The value without the member at a path as faults write it: `spec.list[2].name`; keys may hold dots.
  func removing(path: String) -> JSONValue {
    switch self {
    case .object(var members):
      if members[path] != nil {
        members[path] = nil
        return .object(members)
      }
      for (key, value) in members where path.hasPrefix(key) && path.count > key.count {
        let rest = path.dropFirst(key.count)
        if rest.first == "." {
          members[key] = value.removing(path: String(rest.dropFirst()))
        } else if rest.first == "[" {
          members[key] = value.removing(path: String(rest))
        }
      }
      return .object(members)
    case .array(var elements):
      guard path.first == "[", let close = path.firstIndex(of: "]"),
        let index = Int(path[path.index(after: path.startIndex)..<close]), elements.indices.contains(index)
      else { return self }
      let rest = path[path.index(after: close)...].drop { $0 == "." }
      elements[index] = elements[index].removing(path: String(rest))
      return .array(elements)
    default: return self
    }
  }
}
