internal import ClusterModel

/// Selectors in the form of a query parameter.
enum SelectorText {
  /// `a=b,c!=d,e in (x,y),f notin (z),g,!h`.
  static func text(_ selector: LabelSelector) -> String {
    selector.terms.map { term in
      switch term {
      case .equals(let key, let value): "\(key)=\(value)"
      case .notEquals(let key, let value): "\(key)!=\(value)"
      case .isIn(let key, let values): "\(key) in (\(values.sorted().joined(separator: ",")))"
      case .notIn(let key, let values): "\(key) notin (\(values.sorted().joined(separator: ",")))"
      case .exists(let key): key
      case .absent(let key): "!\(key)"
      }
    }.joined(separator: ",")
  }

  /// `metadata.name=x,status.phase!=Running`.
  static func text(_ selector: FieldSelector) -> String {
    selector.terms.map { "\($0.path)\($0.negated ? "!=" : "=")\($0.value)" }.joined(separator: ",")
  }
}
