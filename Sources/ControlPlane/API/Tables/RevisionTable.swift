internal import ClusterModel

extension TableForm {
  /// NAME FUNCTION NUMBER RUNTIME STATUS AGE; wide: SOURCE.
  static let revision = TableForm(
    columns: [
      .objectName, Column("Function", "the function it is a snapshot of"),
      Column("Number", type: "integer", "counts the function's revisions"),
      Column("Runtime", "how its code is started"),
      Column("Status", "whether one of its pods was ever ready"), .age,
      Column("Source", wide: true, "the digest of the package or image"),
    ],
    cells: { object, now in
      let conditions = object.at(path: "status.conditions")?.arrayValue ?? []
      let failed = conditions.first { $0.text("type") == "Failed" && $0.text("status") == "True" }
      let proven = object.at(path: "status.proven") == .bool(true)
      return [
        .string(object.text("metadata.name") ?? ""), .string(object.text("spec.function") ?? ""),
        .int(object.at(path: "spec.number")?.intValue ?? 0), .string(object.text("spec.template.runtime") ?? ""),
        .string(proven ? "Ready" : failed?.text("reason") ?? (failed == nil ? "Pending" : "Failed")),
        .string(HumanText.age(object.at(path: "metadata.creationTimestamp"), at: now)),
        .string(shortDigest(codeDigest(object, "spec.template"))),
      ]
    })
}
