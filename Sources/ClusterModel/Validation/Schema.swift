/// What a JSON value must look like: types, ranges, required members and defaults, as one value.
///
/// Validation collects every fault at once, names each path, and refuses unknown members.
package indirect enum Schema: Sendable {
  /// Text, checked by a rule.
  case string(Rule)
  /// An integer in a range; nil bound = open.
  case integer(ClosedRange<Int64>)
  /// true or false.
  case boolean
  /// An object with named members.
  case object([String: Member])
  /// An object with free keys and values of one schema; keys are checked by a rule.
  case map(keys: Rule, values: Schema, most: Int)
  /// A list of one schema.
  case list(Schema, most: Int)
  /// Anything.
  case any

  /// A named member of an object.
  package struct Member: Sendable {
    /// What it must look like.
    package let schema: Schema
    /// Whether it must be there.
    package let required: Bool
    /// What is written in when it is missing.
    package let defaultValue: JSONValue?

    /// A member that must be there.
    package static func required(_ schema: Schema) -> Member {
      Member(schema: schema, required: true, defaultValue: nil)
    }
    /// A member that may be missing.
    package static func optional(_ schema: Schema, default value: JSONValue? = nil) -> Member {
      Member(schema: schema, required: false, defaultValue: value)
    }
  }

  /// A named rule for text: answers what is wrong, or nil.
  package struct Rule: Sendable {
    /// What text this is, for documentation: `quantity`, `duration`.
    package let name: String
    /// The check: nil when the text is fine, else the fault in words.
    package let check: @Sendable (String) -> String?

    /// A rule of a name and a check.
    package init(_ name: String, _ check: @escaping @Sendable (String) -> String?) {
      self.name = name
      self.check = check
    }
  }
}

/// One thing that is wrong with a document.
package struct Fault: Hashable, Sendable, Codable, Error, CustomStringConvertible {
  /// The dotted path of the value, such as `spec.resources.memory`.
  package let path: String
  /// What is wrong and what to write instead.
  package let message: String
  /// Whether the path is unknown rather than its value wrong.
  package let unknown: Bool

  /// A fault at a path.
  package init(path: String, message: String, unknown: Bool = false) {
    self.path = path
    self.message = message
    self.unknown = unknown
  }

  /// `path: message`.
  package var description: String { path.isEmpty ? message : "\(path): \(message)" }
}

extension Schema {
  /// Checks a value and answers every fault, in path order.
  package func faults(in value: JSONValue, path: String = "") -> [Fault] {
    var faults: [Fault] = []
    collect(value, path, &faults)
    return faults.sorted { $0.path < $1.path }
  }

  /// The value with every missing default written in.
  package func withDefaults(_ value: JSONValue) -> JSONValue {
    switch (self, value) {
    case (.object(let members), .object(var values)):
      for (key, member) in members {
        if let present = values[key], present != .null {
          values[key] = member.schema.withDefaults(present)
        } else if let defaultValue = member.defaultValue {
          values[key] = member.schema.withDefaults(defaultValue)
        } else {
          values[key] = nil
        }
      }
      return .object(values)
    case (.list(let element, _), .array(let elements)): return .array(elements.map(element.withDefaults))
    case (.map(_, let schema, _), .object(let values)): return .object(values.mapValues(schema.withDefaults))
    default: return value
    }
  }

  private func collect(_ value: JSONValue, _ path: String, _ faults: inout [Fault]) {
    func fault(_ message: String) { faults.append(Fault(path: path, message: message)) }
    switch (self, value) {
    case (.any, _): return
    case (.string(let rule), .string(let text)):
      if let problem = rule.check(text) { fault(problem) }
    case (.string(let rule), .int(let number)) where rule.name == "quantity":
      if let problem = rule.check(String(number)) { fault(problem) }
    case (.string(let rule), .double(let number)) where rule.name == "quantity":
      if let problem = rule.check(String(number)) { fault(problem) }
    case (.string(let rule), _): fault("must be a string (\(rule.name)), not \(value.typeName)")
    case (.integer(let range), .int(let number)):
      if !range.contains(number) {
        fault("\(number) is out of range; use \(range.lowerBound) to \(range.upperBound)")
      }
    case (.integer, _): fault("must be an integer, not \(value.typeName)")
    case (.boolean, .bool): return
    case (.boolean, _): fault("must be true or false, not \(value.typeName)")
    case (.object(let members), .object(let values)): collectMembers(members, values, path, &faults)
    case (.object, _): fault("must be an object, not \(value.typeName)")
    case (.map(let rule, let schema, let most), .object(let values)):
      if values.count > most { fault("has \(values.count) entries; at most \(most) are allowed") }
      for (key, element) in values {
        let inner = Self.join(path, key)
        if let problem = rule.check(key) { faults.append(Fault(path: inner, message: problem)) }
        schema.collect(element, inner, &faults)
      }
    case (.map, _): fault("must be an object, not \(value.typeName)")
    case (.list(let element, let most), .array(let elements)):
      if elements.count > most { fault("has \(elements.count) entries; at most \(most) are allowed") }
      for (index, item) in elements.enumerated() { element.collect(item, "\(path)[\(index)]", &faults) }
    case (.list, _): fault("must be a list, not \(value.typeName)")
    }
  }

  private func collectMembers(
    _ members: [String: Member], _ values: [String: JSONValue], _ path: String, _ faults: inout [Fault]
  ) {
    for (key, value) in values {
      let inner = Self.join(path, key)
      if let member = members[key] {
        if value == .null, !member.required { continue }
        member.schema.collect(value, inner, &faults)
      } else {
        let near = Suggestion.nearest(to: key, in: members.keys)
        let hint =
          near.map { "; did you mean \"\($0)\"?" } ?? "; known here: \(members.keys.sorted().joined(separator: ", "))"
        faults.append(Fault(path: inner, message: "unknown field\(hint)", unknown: true))
      }
    }
    for (key, member) in members where member.required && (values[key] == nil) {
      faults.append(Fault(path: Self.join(path, key), message: "is required"))
    }
  }

  private static func join(_ path: String, _ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }
}
