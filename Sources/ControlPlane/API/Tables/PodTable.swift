internal import ClusterModel

extension TableForm {
  /// NAME FUNCTION STATUS AGE RESTARTS MEMORY STARTED IN; wide: NODE, REVISION.
  static let pod = TableForm(
    columns: [
      .objectName, Column("Function", "the function it runs"), Column("Node", wide: true, "the node it runs on"),
      Column("Status", "where in its life it is"), .age,
      Column("Restarts", type: "integer", "starts after the first"), Column("Memory", "bytes in use"),
      Column("Started In", "time from wanted to ready, at the last start"),
    ],
    cells: { object, now in
      let detail = object.at(path: "status.apus")
      let startup = detail?["startup"]
      let phases = ["placed", "prepared", "sandboxed", "started", "ready"].compactMap { startup?[$0]?.numberValue }
      let ready = startup?["ready"] != nil
      return [
        .string(object.text("metadata.name") ?? ""), .string(detail?.text("function") ?? ""),
        .string(object.text("spec.nodeName") ?? "<none>"), .string(podStatus(object)),
        .string(HumanText.age(object.at(path: "metadata.creationTimestamp"), at: now)),
        .int(detail?["restarts"]?.intValue ?? 0), .string(HumanText.bytes(detail?["memory"]?.intValue)),
        .string(ready ? HumanText.milliseconds(phases.reduce(0, +)) : "-"),
      ]
    })

  /// The step of a pod's life in one word; the reason instead, while a crash or a wait explains more.
  private static func podStatus(_ object: JSONValue) -> String {
    let detail = object.at(path: "status.apus")
    let reason = detail?.text("reason").flatMap { $0.isEmpty ? nil : $0 }
    guard let life = detail?.text("life") else { return object.text("status.phase") ?? "Unknown" }
    let word = life.prefix(1).uppercased() + life.dropFirst()
    switch PodLife(rawValue: life) {
    case .gone: return reason ?? (detail?["failed"] == .bool(true) ? "Failed" : "Completed")
    case .starting where (detail?["restarts"]?.intValue ?? 0) > 0: return reason ?? word
    case .wanted: return reason ?? word
    default: return object.at(path: "metadata.deletionTimestamp") == nil ? word : "Draining"
    }
  }
}
