package import FoundationEssentials

/// A JSON document as a value: what the API patches, validates and stores before it becomes a typed resource.
///
/// Objects are unordered; `encoded()` writes keys sorted, so equal values have equal bytes.
package enum JSONValue: Hashable, Sendable {
  case null
  case bool(Bool)
  case int(Int64)
  case double(Double)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])
}

extension JSONValue: Codable {
  /// Decodes any JSON value; integers that fit 64 bits stay integers.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Int64.self) {
      self = .int(value)
    } else if let value = try? container.decode(Double.self) {
      self = .double(value)
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if let value = try? container.decode([JSONValue].self) {
      self = .array(value)
    } else {
      self = .object(try container.decode([String: JSONValue].self))
    }
  }

  /// Encodes the value as it stands.
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .null: try container.encodeNil()
    case .bool(let value): try container.encode(value)
    case .int(let value): try container.encode(value)
    case .double(let value): try container.encode(value)
    case .string(let value): try container.encode(value)
    case .array(let value): try container.encode(value)
    case .object(let value): try container.encode(value)
    }
  }
}

extension JSONValue {
  /// Reads one JSON document from bytes.
  package init(bytes: some Sequence<UInt8>) throws {
    self = try JSONDecoder().decode(JSONValue.self, from: Data(bytes))
  }

  /// The JSON tree of any encodable value, such as a typed resource.
  package init(encoding value: some Encodable) throws {
    self = try JSONDecoder().decode(JSONValue.self, from: JSONCoding.encoder.encode(value))
  }

  /// The document's bytes with sorted keys.
  package func encoded() -> Data {
    // A tree of finite values always encodes; a non-finite double becomes null instead of an error.
    (try? JSONCoding.encoder.encode(self)) ?? Data("null".utf8)
  }

  /// Decodes the tree into a typed value.
  package func decoded<T: Decodable>(as type: T.Type = T.self) throws -> T {
    try JSONDecoder().decode(type, from: encoded())
  }

  /// The member of an object, or nil when this is no object or has no such member.
  package subscript(key: String) -> JSONValue? {
    get {
      guard case .object(let members) = self else { return nil }
      return members[key]
    }
    set {
      guard case .object(var members) = self else { return }
      members[key] = newValue
      self = .object(members)
    }
  }

  /// The value at a dotted path of object members, such as `spec.scale.min`.
  package func at(path: String) -> JSONValue? {
    var current: JSONValue? = self
    for part in path.split(separator: ".") { current = current?[String(part)] }
    return current
  }

  /// The text, when this is a string.
  package var stringValue: String? {
    if case .string(let value) = self { return value }
    return nil
  }

  /// The integer, when this is one.
  package var intValue: Int64? {
    if case .int(let value) = self { return value }
    return nil
  }

  /// The number, when this is an integer or a decimal one.
  package var numberValue: Double? {
    switch self {
    case .int(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }

  /// The members, when this is an object.
  package var objectValue: [String: JSONValue]? {
    if case .object(let value) = self { return value }
    return nil
  }

  /// The elements, when this is an array.
  package var arrayValue: [JSONValue]? {
    if case .array(let value) = self { return value }
    return nil
  }

  /// What kind of JSON value this is, in words for an error message.
  package var typeName: String {
    switch self {
    case .null: "null"
    case .bool: "a boolean"
    case .int: "an integer"
    case .double: "a number"
    case .string: "a string"
    case .array: "a list"
    case .object: "an object"
    }
  }

  /// Applies a JSON merge patch (RFC 7386): objects merge, null deletes, everything else replaces.
  package func merging(patch: JSONValue) -> JSONValue {
    guard case .object(let changes) = patch else { return patch }
    var members = objectValue ?? [:]
    for (key, change) in changes {
      if case .null = change {
        members[key] = nil
      } else {
        members[key] = (members[key] ?? .null).merging(patch: change)
      }
    }
    return .object(members)
  }
}

/// The one way JSON is written in this system: sorted keys, no escaped slashes.
package enum JSONCoding {
  /// A fresh encoder with the project's settings.
  package static var encoder: JSONEncoder {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return encoder
  }

  /// A fresh encoder for output that people read.
  package static var prettyEncoder: JSONEncoder {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
    return encoder
  }
}
