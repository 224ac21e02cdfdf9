extension String {
  /// The text itself, or of one that is longer than `bytes` its beginning and its end, with how much was left out between
  /// them: at most `bytes` and 40 more.
  ///
  /// For texts that a tenant or a stranger may have had a hand in, on their way to people.
  package func shortened(to bytes: Int) -> String {
    guard utf8.count > bytes else { return self }
    let head = wholeScalar(at: utf8.index(startIndex, offsetBy: bytes / 2))
    let tail = wholeScalar(at: utf8.index(endIndex, offsetBy: -(bytes - bytes / 2)))
    let left = utf8.distance(from: head, to: tail)
    return "\(self[..<head])… (\(left) bytes left out) …\(self[tail...])"
  }

  /// An index, or the next one before it where a Unicode scalar begins.
  private func wholeScalar(at index: Index) -> Index {
    var index = index
    while index > startIndex, index.samePosition(in: unicodeScalars) == nil { index = utf8.index(before: index) }
    return index
  }
}
