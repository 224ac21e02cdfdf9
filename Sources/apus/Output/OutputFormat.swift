import ArgumentParser
import ClusterModel
import FoundationEssentials

/// How a list of objects is written.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
  case table, wide, json, yaml

  /// Whether the output is for programs.
  var structured: Bool { self == .json || self == .yaml }
}

/// JSON for programs and people.
enum JSONText {
  /// A JSON document, indented, with sorted keys and a last newline.
  static func pretty(_ value: JSONValue) -> String {
    let bytes = (try? JSONCoding.prettyEncoder.encode(value)) ?? value.encoded()
    return String(decoding: bytes, as: UTF8.self) + "\n"
  }

  /// Objects as a Kubernetes `List`.
  static func list(_ items: [JSONValue]) -> JSONValue {
    .object([
      "apiVersion": .string("v1"), "kind": .string("List"), "items": .array(items),
      "metadata": .object(["resourceVersion": .string("")]),
    ])
  }
}

extension OutputFormat {
  /// A document in a structured format, with a last newline.
  func text(of value: JSONValue) -> String {
    self == .yaml ? YAMLText.document(value) : JSONText.pretty(value)
  }
}
