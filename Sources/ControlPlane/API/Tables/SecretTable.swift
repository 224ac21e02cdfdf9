internal import ClusterModel

extension TableForm {
  /// NAME TYPE DATA AGE.
  static let secret = TableForm(
    columns: [
      .objectName, Column("Type", "Opaque"), Column("Data", type: "integer", "how many keys it has"), .age,
    ],
    cells: { object, now in
      let keys = (object["lengths"] ?? object["data"])?.objectValue?.count ?? 0
      return [
        .string(object.text("metadata.name") ?? ""), .string(object.text("type") ?? "Opaque"), .int(Int64(keys)),
        .string(HumanText.age(object.at(path: "metadata.creationTimestamp"), at: now)),
      ]
    })
}
