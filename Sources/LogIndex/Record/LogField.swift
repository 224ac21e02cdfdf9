/// The fields every record has by contract; in a query their bare names mean these.
package enum ReservedField: String, Sendable, CaseIterable {
  case time, namespace, function, revision, pod, node, stream, level, call, msg
}

/// A field a query names. Names are alike when their bytes are, as in a record: not when they only look alike.
package enum LogField: Sendable, Hashable, CustomStringConvertible {
  /// One of the record's own.
  case reserved(ReservedField)
  /// One of the user's, a flat dotted key of `fields`.
  case user(String)

  /// The field a name in a query means: the reserved one if there is one, else the user's; `fields.x` is always the
  /// user's `x`.
  package init(name: String) {
    if let reserved = ReservedField(rawValue: name) {
      self = .reserved(reserved)
    } else if name.hasPrefix("fields."), name.utf8.count > 7 {
      self = .user(String(name.dropFirst(7)))
    } else {
      self = .user(name)
    }
  }

  /// The shortest name that means this field in a query.
  package var description: String {
    switch self {
    case .reserved(let field): field.rawValue
    case .user(let name):
      ReservedField(rawValue: name) != nil || name.hasPrefix("fields.") ? "fields.\(name)" : name
    }
  }
}

extension LogField {
  /// Compares the bytes of names.
  package static func == (left: LogField, right: LogField) -> Bool {
    switch (left, right) {
    case (.reserved(let one), .reserved(let other)): one == other
    case (.user(let one), .user(let other)): one.utf8.elementsEqual(other.utf8)
    case (.reserved, .user), (.user, .reserved): false
    }
  }

  /// Hashes the bytes of the name.
  package func hash(into hasher: inout Hasher) {
    switch self {
    case .reserved(let field): hasher.combine(field)
    case .user(var name): name.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
  }
}
