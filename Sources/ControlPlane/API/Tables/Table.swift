package import ClusterModel

/// How the objects of one kind are shown as rows; pure.
package struct TableForm: Sendable {
  /// The columns in order.
  package let columns: [Column]
  /// The cells of an object at a moment, one a column.
  package let cells: @Sendable (JSONValue, Timestamp) -> [JSONValue]

  /// One column.
  package struct Column: Sendable, Hashable {
    /// The heading; kubectl prints it in capitals.
    package let name: String
    /// `string` or `integer`.
    package let type: String
    /// 0, or 1 for `-o wide` only.
    package let priority: Int64
    /// `name` marks the object's name.
    package let format: String
    /// A sentence.
    package let description: String

    init(_ name: String, type: String = "string", wide: Bool = false, format: String = "", _ description: String) {
      self.name = name
      self.type = type
      priority = wide ? 1 : 0
      self.format = format
      self.description = description
    }

    static let objectName = Column("Name", format: "name", "the object's name")
    static let age = Column("Age", "time since it was created")

    var json: JSONValue {
      .object([
        "name": .string(name), "type": .string(type), "format": .string(format), "description": .string(description),
        "priority": .int(priority),
      ])
    }
  }

  /// The form of a kind.
  package static func of(_ kind: ResourceKind) -> TableForm {
    switch kind {
    case .function: .function
    case .revision: .revision
    case .pod: .pod
    case .node: .node
    case .namespace: .namespace
    case .secret: .secret
    case .event: .event
    }
  }
}

/// `meta.k8s.io/v1` Table objects.
package enum Table {
  /// How much of an object a row carries (`includeObject`).
  package enum Include: String, Sendable {
    case none = "None"
    case metadata = "Metadata"
    case object = "Object"
  }

  /// A table of objects; `columns: false` leaves the headings out, for a watch's later events.
  package static func of(
    _ kind: ResourceKind, _ objects: [JSONValue], metadata: [String: JSONValue], include: Include = .metadata,
    columns: Bool = true, at now: Timestamp
  ) -> JSONValue {
    let form = TableForm.of(kind)
    var table: [String: JSONValue] = [
      "kind": .string("Table"), "apiVersion": .string("meta.k8s.io/v1"), "metadata": .object(metadata),
      "rows": .array(objects.map { row($0, form, include, now) }),
    ]
    table["columnDefinitions"] = columns ? .array(form.columns.map(\.json)) : .array([])
    return .object(table)
  }

  private static func row(_ object: JSONValue, _ form: TableForm, _ include: Include, _ now: Timestamp) -> JSONValue {
    var row: [String: JSONValue] = ["cells": .array(form.cells(object, now))]
    switch include {
    case .none: break
    case .metadata:
      row["object"] = .object([
        "kind": .string("PartialObjectMetadata"), "apiVersion": .string("meta.k8s.io/v1"),
        "metadata": object["metadata"] ?? .object([:]),
      ])
    case .object: row["object"] = object
    }
    return .object(row)
  }
}
