package import ApusFunction

/// Reads the head that a runtime puts before the body of an HTTP answer: JSON, eight NULs, then the body.
package struct HTTPPrelude: Sendable {
  /// The media type that says that there is one.
  package static let type = "application/vnd.awslambda.http-integration-response"
  /// The largest head, in bytes.
  package static let bytes = 64 * 1024

  /// The head of an answer.
  package struct Head: Equatable, Sendable {
    /// The status, 200 if the runtime named none.
    package var status = 200
    /// The header fields.
    package var headers = Headers()
  }

  /// What the bytes so far are.
  package enum Reading: Equatable, Sendable {
    /// The head is not complete.
    case incomplete
    /// The head, and what came of the body behind it.
    case head(Head, rest: [UInt8])
    /// No such head.
    case malformed(String)
  }

  private var held: [UInt8] = []
  private var searched = 0

  /// Nothing read yet.
  package init() {}

  /// Takes a piece of the answer.
  package mutating func feed(_ piece: [UInt8]) -> Reading {
    held += piece
    var zeros = 0
    var index = searched
    while index < held.count {
      zeros = held[index] == 0 ? zeros + 1 : 0
      index += 1
      if zeros == 8 { return Self.read(held[..<(index - 8)], rest: Array(held[index...])) }
    }
    searched = held.count - zeros
    guard held.count <= Self.bytes else { return .malformed("its head is larger than \(Self.bytes) bytes") }
    return .incomplete
  }

  private static func read(_ head: ArraySlice<UInt8>, rest: [UInt8]) -> Reading {
    guard let tree = JSONTree(head), case .map = tree else { return .malformed("its head is no JSON object") }
    var found = Head()
    switch tree["statusCode"] {
    case .number(let code) where (200...599).contains(code): found.status = Int(code)
    case nil, .null: break
    default: return .malformed("its statusCode is not 200 to 599")
    }
    if case .map(let fields)? = tree["headers"] {
      for (name, value) in fields.sorted(by: { $0.key < $1.key }) {
        if let text = text(value) { found.headers.append(name, text) }
      }
    }
    if case .map(let fields)? = tree["multiValueHeaders"] {
      for (name, values) in fields.sorted(by: { $0.key < $1.key }) {
        guard case .list(let values) = values else { continue }
        found.headers[name] = nil
        for value in values.compactMap(text) { found.headers.append(name, value) }
      }
    }
    if case .list(let cookies)? = tree["cookies"] {
      for cookie in cookies.compactMap(\.text) { found.headers.append("Set-Cookie", cookie) }
    }
    return .head(found, rest: rest)
  }

  private static func text(_ value: JSONTree) -> String? {
    switch value {
    case .string(let text): text
    case .bool(let truth): truth ? "true" : "false"
    case .number(let number): number == number.rounded() && abs(number) < 1e15 ? "\(Int(number))" : "\(number)"
    default: nil
    }
  }
}
