import ClusterTestSupport
import Foundation
import Testing

@testable import LogIndex

@Suite struct TokenizerTests {
  /// A text as the tokenizer splits it: variables in brackets, UUIDs in braces, references as their numbers.
  private func split(_ text: String, wanted: [String] = []) -> String {
    let all: [UInt8] = Array(([text] + wanted).joined().utf8) + [0]
    return all.withUnsafeBufferPointer { bytes in
      guard let base = bytes.baseAddress else { return "" }
      let tokenizer = Tokenizer(base: base)
      var start = text.utf8.count
      let items = wanted.enumerated().map { number, item in
        defer { start += item.utf8.count }
        return Tokenizer.Wanted(span: Span(start, start + item.utf8.count), number: UInt8(number))
      }
      guard tokenizer.read(Span(0, text.utf8.count), items) else { return "refused" }
      var variables = tokenizer.variables.map { String(decoding: $0.bytes(base), as: UTF8.self) }[...]
      var result: [UInt8] = []
      var isNumber = false
      for byte in tokenizer.skeleton {
        if isNumber {
          result += "<\(byte - Tokenizer.referenceBase)>".utf8
          isNumber = false
        } else if byte == Tokenizer.variable {
          result += "[\(variables.removeFirst())]".utf8
        } else if byte == Tokenizer.identifier {
          result += "{\(variables.removeFirst())}".utf8
        } else if byte == Tokenizer.reference {
          isNumber = true
        } else {
          result.append(byte)
        }
      }
      return String(decoding: result, as: UTF8.self)
    }
  }

  @Test(arguments: [
    ("took 12.50ms", "took [12].[50]ms"), ("v1.2", "v[1].[2]"),
    ("ord_8f3a12bc90 u-000123", "ord_[8f3a12bc90] u-[000123]"),
    ("deadbeef decade", "[deadbeef] decade"), ("a1b2c3 a1b2", "[a1b2c3] a[1]b[2]"),
    ("\\u0041b \\n12", "\\u0041b \\n[12]"),
    ("id=6cbc36de-39a3-4e3c-91c4-daec1b283943.", "id={6cbc36de-39a3-4e3c-91c4-daec1b283943}."),
    ("_6cbc36de-39a3-4e3c-91c4-daec1b283943_", "_{6cbc36de-39a3-4e3c-91c4-daec1b283943}_"),
    ("6cbc36de-39a3-4e3c-91c4-daec1b283943", "{6cbc36de-39a3-4e3c-91c4-daec1b283943}"),
    ("x-6cbc36de-abcd-4e3c-91c4-daec1b283943", "x-[6cbc36de]-abcd-[4]e[3]c-[91]c[4]-[daec1b283943]"),
    ("6cbc36de-39a3-4e3c-91c4-daec1b283943-1", "[6cbc36de]-[39]a[3]-[4]e[3]c-[91]c[4]-[daec1b283943]-[1]"),
    ("6CBC36DE-39A3", "[6]CBC[36]DE-[39]A[3]"), ("größe 7", "größe [7]"), ("", ""),
  ])
  func `texts are split into what repeats and what varies`(_ text: String, _ expected: String) {
    #expect(split(text) == expected)
  }

  @Test func `values of other columns are references where they are words`() {
    #expect(split("GET /a/1 by u-12345 (u-12345)", wanted: ["u-12345", "/a/1"]) == "GET <1> by <0> (<0>)")
    #expect(split("xu-12345 u-123456 _u-12345", wanted: ["u-12345"]) == "xu-[12345] u-[123456] _u-[12345]")
    #expect(split("\\n-12345 größe", wanted: ["n-12345", "größe"]) == "\\n-[12345] <1>")
    #expect(split("abcde", wanted: ["abcde"]) == "<0>")
  }

  @Test func `ids in messages take their own bytes, and each part of one is found`() async throws {
    var random = SeededGenerator(seed: 11)
    let lines = (0..<2_000).map { number in
      let digits = (0..<32).map { _ in random.pick(Array("0123456789abcdef")) }
      let id = [0..<8, 8..<12, 12..<16, 16..<20, 20..<32].map { String(digits[$0]) }.joined(separator: "-")
      return line(
        number == 77 ? "served cab00d1e-abcd-4e3c-91c4-daec1b283943" : "served \(id)", time: day + Int64(number))
    }
    #expect(try blockFile(lines).count < 2_000 * 24)
    try await withTempFolder { folder in
      let store = try LogStore.open(directory: folder)
      _ = try await store.append(worker: "w", firstSequence: 1, records: lines)
      #expect(await store.flush())
      for query in ["abcd-4e3c", "cab00d1e-abcd-4e3c-91c4-daec1b283943", "\"served cab00d1e\"", "msg:/00d1e-abcd-4/"] {
        #expect(try await texts(store, LogQuery.parse(query)).count == 1, "\(query)")
      }
      let query = try LogQuery.parse("abcd")
      let scanned = try lines.filter { query.matches(try IndexedRecord($0), scope: .all) }
      #expect(try await texts(store, query).count == scanned.count && !scanned.isEmpty)
      await store.close()
    }
  }
}
