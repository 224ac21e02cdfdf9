import ClusterModel
import ClusterTestSupport
import Foundation
import FunctionPackage
import Testing

@Suite struct `A manifest` {
  static let good = """
    # a comment
    apiVersion: apus.dev/v1
    kind: Function
    metadata:
      name: greet
      labels: {team: "a", on: no}
    spec:
      runtime: python
      handler: handler.py
      env:
        COUNTRY: NO
        PORT_TEXT: "8080"
      resources:
        memory: 64Mi
      scale: {min: 0, max: 3}
      timeout: 5s
    """

  static func parse(_ text: String) -> Result<Manifest, ManifestError> {
    do {
      return .success(try ManifestReader.parse(text, file: "f.yaml"))
    } catch {
      return .failure(error)
    }
  }

  static func error(_ text: String) -> String {
    switch parse(text) {
    case .success: "accepted"
    case .failure(let error): error.description
    }
  }

  static func read(_ text: String) throws -> (Function, Manifest) {
    let folder = try TemporaryFolder()
    let path = folder.path + "/function.yaml"
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    return try ManifestReader.readFunction(path)
  }

  @Test func `becomes a function with every default written in`() throws {
    let (function, manifest) = try Self.read(Self.good)
    #expect(function.metadata.name == "greet")
    #expect(function.spec.runtime == .python)
    #expect(function.spec.env == ["COUNTRY": "NO", "PORT_TEXT": "8080"])
    #expect(function.metadata.labels?["on"] == "no")
    #expect(function.spec.scale.max == 3)
    #expect(function.spec.concurrency == 1)
    #expect(manifest.line(of: "spec.resources.memory") == 14)
    #expect(manifest.line(of: "spec.resources.cpu") == 13)
    #expect(manifest.line(of: "spec.scale.max") == 15)
    #expect(manifest.line(of: "") == 2)
  }

  @Test func `with faults names the line of each, in order`() throws {
    let text = Self.good.replacing("64Mi", with: "128MB").replacing("timeout: 5s", with: "timout: 5s")
      .replacing("runtime: python", with: "runtime: cobol")
    let folder = try TemporaryFolder()
    let path = folder.path + "/function.yaml"
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    do {
      _ = try ManifestReader.readFunction(path)
      Issue.record("accepted")
    } catch {
      let lines = error.description.split(separator: "\n")
      try #require(lines.count == 3)
      #expect(lines[0].hasPrefix("\(path):8: spec.runtime: "))
      #expect(lines[1].hasPrefix("\(path):14: spec.resources.memory: \"128MB\" is not a quantity"))
      #expect(lines[2].hasPrefix("\(path):16: spec.timout: unknown field; did you mean \"timeout\"?"))
    }
  }

  @Test func `that is not there says how to make one`() {
    let error = #expect(throws: ManifestError.self) { try ManifestReader.read("/nonexistent/function.yaml") }
    #expect(error?.description == "/nonexistent/function.yaml: no such file; apus new NAME makes a folder with one")
  }

  @Test(arguments: [
    ("", "f.yaml:1: is empty; a manifest begins with apiVersion, kind and metadata"),
    ("# only a comment\n", "f.yaml:1: is empty; a manifest begins with apiVersion, kind and metadata"),
    ("- a\n- b\n", "f.yaml:1: must be a map (name: value) at the top, not a list or a value"),
    ("just text", "f.yaml:1: must be a map (name: value) at the top, not a list or a value"),
    ("a: 1\nb: 2\na: 3\n", "f.yaml:1: the key 'a' is there twice; keep one"),
    ("a:\n  x: 1\n  y: 2\n  x: 3\n", "f.yaml:2: the key 'x' is there twice; keep one"),
    ("a: 1\n---\nb: 2\n", "f.yaml:2: a second document begins; a manifest is one document"),
    ("a:\n\tb: 1\n", "f.yaml:2: a tab indents this line; use spaces"),
    ("a: 1\n<<: {b: 2}\n", "f.yaml:2: merge keys (<<) are not read; write the values out"),
    ("a: 1\nb: !!binary aGk=\n", "f.yaml:2: the tag tag:yaml.org,2002:binary is not read; write a plain value"),
    ("a: 1\n? [x]\n: 2\n", "f.yaml:2: a key must be plain text"),
    ("a: 1\nb: *nobody\n", "f.yaml:2: found undefined alias"),
  ])
  func `that a manifest does not need is refused with its line`(text: String, message: String) {
    #expect(Self.error(text) == message)
  }

  @Test(arguments: ["a: [1, 2\nb: 3\n", "a: 'open\n", "a: b: c\n", "a: 1\n  b: 2\n", "a: @x\n", "\u{1}", "{a: 1}}"])
  func `with broken syntax is refused with a line`(text: String) {
    let error = Self.error(text)
    #expect(error.hasPrefix("f.yaml:") && error != "accepted", "\(error)")
    #expect(error.split(separator: ":").dropFirst().first.flatMap { Int($0) } != nil, "\(error)")
  }

  @Test func `that is a bomb of aliases is refused before it grows`() {
    var bomb = "a0: &a0 [x, x]\n"
    for level in 1...40 { bomb += "a\(level): &a\(level) [*a\(level - 1), *a\(level - 1)]\n" }
    #expect(Self.error(bomb).contains("more than 32 anchors or aliases"))
    // Few aliases that still grow: 15 levels of 2.
    var small = "a0: &a0 [x, x]\n"
    for level in 1...15 { small += "a\(level): &a\(level) [*a\(level - 1), *a\(level - 1)]\n" }
    #expect(Self.error(small).contains("more than 20000 values"))
    #expect(Self.error("a: &x {k: 1}\nb: *x\n") == "accepted")
    var keys = "a0: &a0 [x, x]\n"
    for level in 1...14 { keys += "a\(level): &a\(level) {*a\(level - 1) : *a\(level - 1)}\n" }
    #expect(Self.error(keys).contains("a key must be plain text"))
  }

  @Test func `nested too deeply or too large is refused`() {
    #expect(
      Self.error("a: " + String(repeating: "[", count: 40) + String(repeating: "]", count: 40)).contains(
        "nested deeper"))
    #expect(Self.error("a: " + String(repeating: "[", count: 100_000)) != "accepted")
    #expect(Self.error(String(repeating: "- ", count: 100_000)) != "accepted")
    #expect(Self.error("a: " + String(repeating: "x", count: 300_000)).contains("larger than"))
  }

  @Test func `reads plain scalars as YAML 1.2 does`() throws {
    let text =
      "a: 007\nb: 0x1f\nc: 1.5\nd: yes\ne: 'true'\nf: true\n"
      + "g:\nh: 2024-01-01\ni: -3\nj: .5\nk: 1e3\nl: 64Mi\nm: !!str 5\nn: 0.5s\n"
    let value = try ManifestReader.parse(text, file: "f").value
    let expected: [String: JSONValue] = [
      "a": .int(7), "b": .int(31), "c": .double(1.5), "d": .string("yes"), "e": .string("true"), "f": .bool(true),
      "g": .null, "h": .string("2024-01-01"), "i": .int(-3), "j": .double(0.5), "k": .double(1_000),
      "l": .string("64Mi"), "m": .string("5"), "n": .string("0.5s"),
    ]
    #expect(value == .object(expected))
  }

  @Test func `mutated a hundred thousand times is read or refused, never fatal`() {
    let seed = Soak.seed("manifests")
    var random = SeededGenerator(seed: seed)
    let original = Array((Self.good + "\n  more: [&a {x: 1}, *a, 'q', \"d\\n\", |-\n   t\n  ]\n").utf8)
    let pieces = [
      "&a ", "*a", "[", "]", "{", "}", ": ", "- ", "\n", "\t", "!!x ", "? ", "|\n", "'", "\"", "---\n", "%", "\u{0}",
    ]
    for _ in 0..<Soak.rounds(100_000) {
      var bytes = original
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let at = Int.random(in: 0..<bytes.count, using: &random)
        if Bool.random(using: &random) {
          bytes.insert(contentsOf: (pieces.randomElement(using: &random) ?? "").utf8, at: at)
        } else {
          bytes[at] = .random(in: 0...255, using: &random)
        }
      }
      if case .failure(let error) = Self.parse(String(decoding: bytes, as: UTF8.self)) {
        #expect(error.description.hasPrefix("f.yaml:"), "seed \(seed)")
      }
    }
  }
}
