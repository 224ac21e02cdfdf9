internal import ClusterAPI
internal import ClusterModel
internal import HTTPService

/// Reads list options from a query; what cannot be honoured is a 400.
enum ListParameters {
  /// Objects on one page at most, whatever was asked for; 0 means no paging.
  static let limitMax = 100_000

  /// The options of a list or watch.
  static func options(_ query: QueryParameters, _ kind: ResourceKind) throws(APIStatus) -> ListOptions {
    var options = ListOptions()
    do throws(SelectorError) {
      if let text = query["labelSelector"] { options.labels = try LabelSelector(parsing: text) }
      if let text = query["fieldSelector"] {
        options.fields = try FieldSelector(parsing: text, supported: selectable(kind))
      }
    } catch {
      throw .badRequest(error.description)
    }
    if let text = query["limit"] {
      guard let limit = Int(text), limit >= 0 else { throw .badRequest("limit=\(text) is not a number of objects") }
      options.limit = min(limit, limitMax)
    }
    options.continueToken = query["continue"]
    return options
  }

  /// The fields that selectors may name.
  static func selectable(_ kind: ResourceKind) -> Set<String> {
    let common: Set<String> = ["metadata.name", "metadata.namespace"]
    switch kind {
    case .pod: return common.union(["spec.nodeName", "status.phase", "status.apus.function", "status.apus.revision"])
    case .node: return common.union(["spec.unschedulable"])
    case .revision: return common.union(["spec.function"])
    case .secret: return common.union(["type"])
    case .namespace: return common.union(["status.phase"])
    case .function: return common.union(["spec.runtime"])
    case .event:
      let about = ["kind", "namespace", "name", "uid", "apiVersion"].map { "involvedObject.\($0)" }
      return common.union(about).union(["reason", "type", "source.component"])
    }
  }
}
