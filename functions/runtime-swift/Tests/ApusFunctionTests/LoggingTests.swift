import Testing

@testable import ApusFunction

@Suite struct LoggingTests {
  @Test("written bytes become a frame a line, the unfinished one when the call ends")
  func lines() {
    let wire = Wire()
    let output = CallOutput(frames: wire.frames, call: "a\"b")
    output.write("one\ntw".utf8, to: .stdout)
    output.write("o\r\n\tthree".utf8, to: .stdout)
    output.write("four\n".utf8, to: .stderr)
    #expect(
      wire.lines() == [
        #"{"call":"a\"b","stream":"stdout","line":"one"}"#, #"{"call":"a\"b","stream":"stdout","line":"two"}"#,
        #"{"call":"a\"b","stream":"stderr","line":"four"}"#,
      ])
    output.flush()
    output.flush()
    #expect(wire.lines() == [#"{"call":"a\"b","stream":"stdout","line":"\tthree"}"#])
    #expect(output.lastLine(of: .stderr) == "four")
  }

  @Test("a line over 64 KiB is cut between characters and its parts are numbered")
  func parts() {
    let wire = Wire()
    let output = CallOutput(frames: wire.frames, call: "")
    output.write(String(repeating: "a", count: 1).utf8, to: .stdout)
    output.write(String(repeating: "é", count: 32_768).utf8, to: .stdout)
    let first = wire.lines()
    output.write("\n".utf8, to: .stdout)
    let second = wire.lines()
    #expect(first.count == 1 && first[0].hasSuffix(#"é","part":1}"#))
    #expect(second == [#"{"stream":"stdout","line":"é","part":2}"#])
  }

  @Test("a record carries its fields as JSON")
  func record() {
    let wire = Wire()
    let output = CallOutput(frames: wire.frames, call: "c")
    CallLog(output: output).warn("low\u{7}", ["n": 1, "x": 1.5, "on": true, "list": [1, "two"], "map": ["k": "v\n"]])
    #expect(
      wire.lines() == [
        #"{"call":"c","stream":"stderr","level":"warn","msg":"low\u0007","fields":"#
          + #"{"list":[1,"two"],"map":{"k":"v\n"},"n":1,"on":true,"x":1.5}}"#
      ])
  }

  @Test("numbers that JSON lacks and endless nesting are text")
  func oddValues() {
    var out: [UInt8] = []
    LogValue.double(.infinity).write(into: &out)
    #expect(String(decoding: out, as: UTF8.self) == "\"inf\"")
    var deep: LogValue = 1
    for _ in 0..<50 { deep = .list([deep]) }
    out = []
    deep.write(into: &out)
    #expect(String(decoding: out, as: UTF8.self) == "[[[[[[[[\"…\"]]]]]]]]")
  }
}
