internal import ClusterModel

extension TableForm {
  /// NAME STATUS ROLES AGE VERSION; wide: PODS CPU MEMORY ADDRESS OS-IMAGE KERNEL-VERSION.
  static let node = TableForm(
    columns: [
      .objectName, Column("Status", "whether it takes pods"), Column("Roles", "what it is for"), .age,
      Column("Version", "the worker's version"), Column("Pods", wide: true, "pods on it, of pods at most"),
      Column("CPU", wide: true, "CPU given to pods, of all"),
      Column("Memory", wide: true, "memory given to pods, of all"),
      Column("Internal-IP", wide: true, "where other machines reach it"), Column("OS-Image", wide: true, "its system"),
      Column("Kernel-Version", wide: true, "its kernel"),
    ],
    cells: { object, now in
      let status = object["status"]
      let detail = status?["apus"]
      let capacity = status?["allocatable"] ?? status?["capacity"]
      let milliCPU = detail?["allocatedMilliCPU"]?.intValue ?? 0
      let memory = capacity?.text("memory").flatMap(Quantity.init(_:))?.value
      let addresses = status?["addresses"]?.arrayValue ?? []
      let address = addresses.first { $0.text("type") == "InternalIP" } ?? addresses.first
      return [
        .string(object.text("metadata.name") ?? ""), .string(nodeStatus(object)), .string("worker"),
        .string(HumanText.age(object.at(path: "metadata.creationTimestamp"), at: now)),
        .string(status?.text("nodeInfo.kubeletVersion") ?? "-"),
        .string("\(detail?["pods"]?.intValue ?? 0)/\(capacity?.text("pods") ?? "-")"),
        .string("\(Quantity(milliCores: milliCPU))/\(capacity?.text("cpu") ?? "-")"),
        .string("\(HumanText.bytes(detail?["allocatedMemory"]?.intValue ?? 0))/\(HumanText.bytes(memory))"),
        .string(address?.text("address") ?? "<none>"), .string(status?.text("nodeInfo.osImage") ?? "-"),
        .string(status?.text("nodeInfo.kernelVersion") ?? "-"),
      ]
    })

  private static func nodeStatus(_ object: JSONValue) -> String {
    let conditions = object.at(path: "status.conditions")?.arrayValue ?? []
    let ready = conditions.first { $0.text("type") == "Ready" }?.text("status")
    let word =
      switch ready {
      case "True": "Ready"
      case "False": "NotReady"
      default: "Unknown"
      }
    return object.at(path: "spec.unschedulable") == .bool(true) ? "\(word),SchedulingDisabled" : word
  }
}
