import ClusterModel

/// A pod as the control plane would show it.
enum PodSample {
  static func pod(_ name: String, node: String, image: String) -> JSONValue {
    var detail = PodDetail(function: "f", revision: "f-00001", life: .ready)
    detail.enter(.ready, at: Timestamp(milliseconds: 1_800_000_000_000), reason: "Ready")
    let container = PodSpec.Container(name: "function", image: image, resources: nil)
    let pod = Pod(
      metadata: ObjectMeta(name: name, namespace: "default"),
      spec: PodSpec(nodeName: node, containers: [container], graceSeconds: 1),
      status: PodStatus(apus: detail, at: Timestamp(milliseconds: 1_800_000_000_000)))
    return (try? JSONValue(encoding: pod)) ?? .null
  }
}
