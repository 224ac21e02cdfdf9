/// A regular expression, taken apart.
indirect enum RegexNode: Sendable, Equatable {
  /// Something that is looked for between characters.
  enum Edge: UInt8, Sendable {
    /// The beginning and the end of the text.
    case start, end
    /// Where a word begins or ends, and where it does not.
    case word, notWord
  }

  case empty
  case set(ScalarSet)
  case edge(Edge)
  case sequence([RegexNode])
  case either([RegexNode])
  /// So many times; without a most, any number.
  case repeated(RegexNode, least: Int, most: Int?)
}

/// A regular expression that cannot be understood: the byte it is at, what is wrong, what to write instead.
struct RegexFault: Error, Equatable {
  var offset: Int
  var message: String
  var hint: String
}
