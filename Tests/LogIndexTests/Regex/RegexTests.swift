import ClusterTestSupport
import Foundation
import Testing

@testable import LogIndex

@Suite struct RegexTests {
  private func matches(_ pattern: String, _ text: String, isFolded: Bool = false) throws -> Bool {
    try RegexProgram(Array(pattern.utf8), isFolded: isFolded).matches(Array(text.utf8)[...])
  }

  @Test(arguments: [
    ("abc", "xabcx", true), ("abc", "abxc", false), ("", "", true), ("a|b", "xb", true), ("(ab|cd)e", "cde", true),
    ("^ab", "ab", true), ("^ab", "xab", false), ("ab$", "xab", true), ("ab$", "abx", false), ("^$", "", true),
    ("^$", "a", false), ("a*", "", true), ("^a+$", "aaa", true), ("^a+$", "aab", false), ("^a?b$", "b", true),
    ("^a{2,3}$", "aa", true), ("^a{2,3}$", "aaaa", false), ("^a{2}$", "aaa", false), ("^a{2,}$", "aaaa", true),
    ("a.c", "abc", true), ("a.c", "a\nc", false), ("a.c", "aéc", true), ("^a.c$", "a日c", true), ("^..$", "日本", true),
    ("[abc]x", "bx", true), ("[^abc]x", "bx", false), ("[^abc]x", "éx", true), ("[a-c0-9_]$", "7", true),
    ("[]x]", "]", true), ("[^]]", "]", false), ("[\\]a-]", "-", true), ("[ä-ü]", "ö", true), ("[ä-ü]", "ž", false),
    ("\\d+ms", "took 17ms", true), ("^\\D+$", "a1", false), ("\\s", "a b", true), ("^\\S+$", "ab", true),
    ("^\\w+$", "größe_1", true), ("\\W", "abc", false), ("\\berror\\b", "an error!", true),
    ("\\berror\\b", "errors", false),
    ("\\Brr", "error", true), ("\\Berr", "error", false), ("\\bö", "ö", true), ("x\\b", "xé", false),
    ("\\x41\\u00e4\\x{1F600}", "Aä😀", true), ("a\\.b", "axb", false), ("a\\/b", "a/b", true), ("\\{\\}", "{}", true),
    ("{\"a\":1}", "{\"a\":1}", true), ("a{,2}", "a{,2}", true), ("a{x", "a{x", true), ("(?i)err", "ERR", true),
    ("(?i:e)rr", "Err", true), ("(?i:e)rr", "ERR", false), ("a(?i)b(?-i)c", "aBc", true),
    ("a(?i)b(?-i)c", "aBC", false),
    ("(?i)größe", "GRÖSSE", false), ("(?i)grö", "GRÖ", true), ("[[:digit:][:upper:]]{3}", "A1B", true),
    ("(a|ab)(c|bcd)$", "abcd", true), ("(?:x|)y", "y", true), ("a*?b", "aab", true), ("(?P<n>a)b", "ab", true),
    ("(^|/)api(/|$)", "/api", true), ("(^|/)api(/|$)", "/apis", false), ("\\Aab\\z", "ab", true),
    ("[^\\d]", "12", false),
    ("\\t\\n", "\t\n", true), ("a$b", "ab", false), ("$", "", true), ("(a*)*b", "aaab", true), ("(|a)+", "", true),
    ("a(((((){1000}){1000}){1000}){1000}){1000}b", "xaby", true),
  ])
  func `an expression matches somewhere in a text or does not`(
    _ pattern: String, _ text: String, _ expected: Bool
  ) throws {
    #expect(try matches(pattern, text) == expected)
  }

  @Test func `upper and lower case are alike when asked`() throws {
    #expect(try matches("err[a-f]r", "ERREr", isFolded: true))
    #expect(try !matches("err", "ERR"))
    #expect(try !matches("[^a]", "A", isFolded: true))
  }

  @Test(arguments: [
    ("(a", 0, "without ')'"), ("a)", 1, "without '('"), ("[a", 0, "without ']'"), ("*a", 0, "nothing to repeat"),
    ("a**", 2, "repetition of a repetition"), ("a{3,2}", 1, "cannot be"), ("a{2000}", 1, "cannot be"),
    ("é(?=a)", 2, "ahead or behind"), ("(?<!a)", 0, "ahead or behind"), ("(a)\\1", 3, "reference to a group"),
    ("\\q", 0, "no meaning"), ("a\\", 1, "nothing after it"), ("[z-a]", 1, "range whose end"),
    ("\\xZZ", 0, "no character"), ("^*", 1, "nothing to repeat"), ("(a{1000}){1000}", 0, "too large"),
    ("((()*){1000}){1000}", 0, "too large"), ("([^\\d\\D]{1000}){1000}", 0, "too large"),
    (String(repeating: "(", count: 40), 32, "inside each other"),
  ])
  func `a wrong expression is refused where it is wrong`(_ pattern: String, _ offset: Int, _ part: String) {
    do {
      _ = try RegexProgram(Array(pattern.utf8), isFolded: false)
      Issue.record("\(pattern) was taken")
    } catch {
      #expect(error.offset == offset && error.message.contains(part) && !error.hint.isEmpty, "\(pattern): \(error)")
    }
  }

  @Test func `random expressions agree with ICU`() throws {
    let seed = Soak.seed("regex")
    var random = SeededGenerator(seed: seed)
    var hits = 0
    let rounds = Soak.rounds(800)
    for round in 0..<rounds {
      let pattern = expression(&random, depth: 0)
      let program = try RegexProgram(Array(pattern.utf8), isFolded: false)
      let other = try NSRegularExpression(pattern: pattern)
      for _ in 0..<6 {
        let text = (0..<Int.random(in: 0...9, using: &random)).map { _ in random.pick(["a", "b", "c", " ", "é"]) }
          .joined()
        let expected = other.firstMatch(in: text, range: NSRange(text.startIndex..., in: text)) != nil
        hits += expected ? 1 : 0
        let found = program.matches(Array(text.utf8)[...])
        #expect(found == expected, "seed \(seed), round \(round): /\(pattern)/ in '\(text)'")
        // What every match must hold is there.
        if found {
          for choices in program.literals.lists {
            #expect(
              choices.contains { TextFold.find($0, in: Array(text.utf8)[...], from: 0) != nil },
              "seed \(seed), round \(round): /\(pattern)/ needs \(choices)")
          }
        }
      }
    }
    #expect(hits > rounds && hits < rounds * 5, "seed \(seed): \(hits)")
  }

  private func expression(_ random: inout SeededGenerator, depth: Int) -> String {
    let kind = depth > 3 ? 0 : Int.random(in: 0..<10, using: &random)
    switch kind {
    case 0..<4: return random.pick(["a", "b", "ab", "abc", ".", "[ab]", "[^a]", "\\s", "é", "[a-c]", "\\S", "ca"])
    case 4:
      return "(?:" + expression(&random, depth: depth + 1) + ")"
        + random.pick(["*", "+", "?", "{2}", "{1,2}", "{0,1}"])
    case 5: return "(" + expression(&random, depth: depth + 1) + "|" + expression(&random, depth: depth + 1) + ")"
    case 6: return random.pick(["^", "$"]) + expression(&random, depth: depth + 1)
    case 7: return expression(&random, depth: depth + 1) + "$"
    default: return expression(&random, depth: depth + 1) + expression(&random, depth: depth + 1)
    }
  }

  @Test(arguments: [
    ("(a+)+$", 200_000), ("(a|aa)*c", 200_000), ("(a*)*(a*)*(a*)*b", 100_000), ("(x+x+)+y", 100_000),
    ("(a|b)*a(a|b){14}c", 60_000), ("(.*)(.*)(.*)(.*)(.*)[c]", 100_000), ("(.{0,40}a){4}c", 10_000),
  ])
  func `hostile expressions take time that grows with the text`(_ pattern: String, _ length: Int) throws {
    let program = try RegexProgram(Array(pattern.utf8), isFolded: false)
    var random = SeededGenerator(seed: 5)
    let text = (0..<length).map { _ in random.chance(70) ? UInt8(0x61) : random.pick([0x62, 0x78]) }
    let time = ContinuousClock().measure { _ = program.matches(text[...]) }
    #expect(time < .seconds(20), "\(pattern): \(time)")
  }

  @Test func `a range of characters is exactly its UTF-8`() {
    for range in [0x7F...0x80 as ClosedRange<UInt32>, 0x20...0x10_FFFF, 0x7FE...0x801, 0xFFFE...0x1_0003, 0xE4...0x3B1]
    {
      let sequences = UTF8Ranges.sequences(range)
      for value: UInt32 in [
        0x1F, 0x20, 0x7E, 0x7F, 0x80, 0x81, 0x7FF, 0x800, 0x802, 0xFFFF, 0x1_0000, 0x1_0004, 0x10_FFFF, 0xE3, 0x3B2,
      ] {
        guard let scalar = Unicode.Scalar(value), let bytes = UTF8.encode(scalar) else { continue }
        let holds = sequences.contains { sequence in
          sequence.count == bytes.count && zip(sequence, bytes).allSatisfy { $0.contains($1) }
        }
        #expect(holds == range.contains(value), "\(value) in \(range)")
      }
    }
  }
}
