internal import ClusterModel

extension TableForm {
  /// LAST SEEN TYPE REASON OBJECT MESSAGE; wide: SOURCE FIRST SEEN COUNT NAME.
  static let event = TableForm(
    columns: [
      Column("Last Seen", "time since it was last seen"), Column("Type", "Normal or Warning"),
      Column("Reason", "the cause in one word"), Column("Object", "what it happened to"),
      Column("Source", wide: true, "who saw it"), Column("Message", "a sentence"),
      Column("First Seen", wide: true, "time since it was first seen"),
      Column("Count", type: "integer", wide: true, "how often it was seen"),
      Column("Name", wide: true, format: "name", "the event's name"),
    ],
    cells: { object, now in
      let kind = object.text("involvedObject.kind")?.lowercased() ?? ""
      return [
        .string(HumanText.age(object["lastTimestamp"], at: now)), .string(object.text("type") ?? ""),
        .string(object.text("reason") ?? ""), .string("\(kind)/\(object.text("involvedObject.name") ?? "")"),
        .string(object.text("source.component") ?? ""), .string(object.text("message") ?? ""),
        .string(HumanText.age(object["firstTimestamp"], at: now)), .int(object["count"]?.intValue ?? 1),
        .string(object.text("metadata.name") ?? ""),
      ]
    })
}
