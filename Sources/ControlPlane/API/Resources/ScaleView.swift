package import ClusterModel

/// The scale of a function as `autoscaling/v1` shows it: `spec.replicas` is `spec.scale.min`.
package enum ScaleView {
  /// The Scale of a function; a Scale is answered as it is.
  package static func scale(of object: JSONValue) -> JSONValue {
    if object["kind"]?.stringValue == "Scale" { return object }
    var metadata: [String: JSONValue] = [:]
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
      metadata[key] = object["metadata"]?[key]
    }
    let name = object.at(path: "metadata.name")?.stringValue ?? ""
    let selector = object.at(path: "status.selector")?.stringValue ?? "\(LabelKey.function)=\(name)"
    return .object([
      "kind": .string("Scale"), "apiVersion": .string("autoscaling/v1"), "metadata": .object(metadata),
      "spec": .object(["replicas": object.at(path: "spec.scale.min") ?? .int(0)]),
      "status": .object(["replicas": object.at(path: "status.readyPods") ?? .int(0), "selector": .string(selector)]),
    ])
  }
}
