internal import ClusterModel

extension TableForm {
  /// NAME STATUS AGE.
  static let namespace = TableForm(
    columns: [.objectName, Column("Status", "Active or Terminating"), .age],
    cells: { object, now in
      [
        .string(object.text("metadata.name") ?? ""), .string(object.text("status.phase") ?? "Active"),
        .string(HumanText.age(object.at(path: "metadata.creationTimestamp"), at: now)),
      ]
    })
}
