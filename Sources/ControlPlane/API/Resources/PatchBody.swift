internal import ClusterAPI
internal import ClusterModel

/// Bodies of PATCH requests.
enum PatchBody {
  /// The merge patch (RFC 7386) that a body means; 415 for other kinds of patches.
  ///
  /// A strategic merge patch is taken for core kinds only, without its directives: their lists are written as a whole.
  static func mergePatch(
    _ body: JSONValue, contentType: String?, _ kind: ResourceKind
  ) throws(APIStatus) -> JSONValue {
    let type = (contentType ?? "").split(separator: ";").first.map { $0.lowercased() } ?? ""
    let patch: JSONValue
    switch type {
    case "application/merge-patch+json": patch = body
    case "application/strategic-merge-patch+json" where kind.group.isEmpty: patch = withoutDirectives(body)
    default:
      throw .unsupportedMedia(
        "a patch of type \(type.isEmpty ? "(none)" : type) is not taken for \(kind.plural); send application/merge-patch+json "
          + "(kubectl patch --type=merge)")
    }
    guard case .object = patch else { throw .badRequest("the patch is \(patch.typeName), not an object") }
    return patch
  }

  private static func withoutDirectives(_ value: JSONValue) -> JSONValue {
    switch value {
    case .object(let members):
      .object(members.filter { !$0.key.hasPrefix("$") }.mapValues(withoutDirectives))
    case .array(let elements): .array(elements.map(withoutDirectives))
    default: value
    }
  }
}
