import ClusterAPI
import Testing

@Suite struct LogLinesTests {
  @Test(arguments: [
    ("", []), ("\n", []), ("a", ["a"]), ("a\n", ["a"]), ("\n\na\n\nbc\nd", ["a", "bc", "d"]),
    ("a\r\nb\n", ["a\r", "b"]),
  ])
  func `lines are what stands between newlines, without empty ones`(text: String, lines: [String]) {
    let split = Array(text.utf8).withUnsafeBytes(LogLines.split)
    #expect(split == lines.map { Array($0.utf8) })
  }
}
