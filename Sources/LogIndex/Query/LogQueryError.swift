/// A query that cannot be understood: where, what is wrong, and what to write instead.
package struct LogQueryError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The character the fault is at, counted from 1.
  package var column: Int
  /// What is wrong.
  package var message: String
  /// What to do about it.
  package var hint: String

  /// All of it in one sentence.
  package var description: String { "column \(column): \(message); \(hint)" }
}
