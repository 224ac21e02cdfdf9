import ClusterModel
import ClusterTestSupport
import Testing

@Suite("Image references")
struct ImageReferenceTests {
  static let digest = "sha256:" + String(repeating: "0a", count: 32)

  @Test(
    "are read as people write them",
    arguments: [
      ("nginx", "docker.io/library/nginx:latest"), ("nginx:1.25", "docker.io/library/nginx:1.25"),
      ("acme/shop", "docker.io/acme/shop:latest"), ("ghcr.io/acme/shop:v1.4_x-2", "ghcr.io/acme/shop:v1.4_x-2"),
      ("localhost/shop", "localhost/shop:latest"), ("127.0.0.1:5000/a/b/c:1", "127.0.0.1:5000/a/b/c:1"),
      ("[::1]:5000/a", "[::1]:5000/a:latest"), ("r.example/a__b/c-d.e", "r.example/a__b/c-d.e:latest"),
      ("r.example/a@\(digest)", "r.example/a@\(digest)"), ("r.example/a:1@\(digest)", "r.example/a:1@\(digest)"),
      ("docker.io/nginx", "docker.io/library/nginx:latest"),
    ])
  func read(text: String, whole: String) throws {
    let image = try ImageReference(text)
    #expect(image.description == whole)
    #expect(try ImageReference(whole) == image, "a whole reference reads as itself")
  }

  @Test(
    "that are none are refused with a sentence",
    arguments: [
      "", "Nginx", "a b", "nginx:", "nginx:-x", "a//b", "/a", "a/", "r.example:99999/a", "r.example:0/a",
      "r.ex ample/a",
      "a@sha256:12", "a@md5:00", "a..b", "a___b", "a.-b", "-a", "r.example/a:b:c", "https://r.example/a", "r.example/",
      "r.example/../a", "[::g]/a", "[]/a", "r..example/a", "a@\(digest)@\(digest)", String(repeating: "a", count: 2000),
    ])
  func refused(text: String) {
    let error = #expect(throws: ImageReference.Flaw.self) { _ = try ImageReference(text) }
    #expect(error?.description.contains("is not an image") == true)
  }

  @Test("know a registry of this machine, and are pinned by a digest")
  func loopback() throws {
    for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:5000"] {
      #expect(try ImageReference("\(host)/a").isLoopback, "\(host)")
    }
    for host in [
      "r.example", "10.0.0.1:5000", "localhost.example:5000", "[fe80::1]:5000", "127.example:80",
      "127.0.0.1.example:80",
      "127.0.0:5000",
    ] {
      #expect(try !ImageReference("\(host)/a").isLoopback, "\(host)")
    }
    #expect(try ImageReference("r.example/a:1").pinned(Self.digest).description == "r.example/a:1@\(Self.digest)")
  }

  @Test("of any bytes never trap")
  func fuzz() {
    var random = SeededGenerator(seed: Soak.seed("references"))
    let letters = Array("abAB01.:/@-_[]% sha256:\u{e9}\u{0}")
    for _ in 0..<20_000 {
      let text = String(
        (0..<Int.random(in: 0..<40, using: &random)).map { _ in letters.randomElement(using: &random)! })
      if let image = try? ImageReference(text) { #expect((try? ImageReference(image.description)) == image) }
    }
  }

  private func faults(_ spec: String) throws -> [String] {
    let text = #"{"apiVersion":"apus.dev/v1","kind":"Function","metadata":{"name":"f"},"spec":\#(spec)}"#
    switch Admission.admit(function: try JSONValue(bytes: text.utf8)) {
    case .success: return []
    case .failure(let faults): return faults.all.map(\.path)
    }
  }

  @Test("stand in a function's spec with their digest, and only where they belong")
  func admission() throws {
    #expect(try faults(#"{"runtime":"image","image":"r.example/a@\#(Self.digest)"}"#) == [])
    #expect(
      try faults(
        #"{"runtime":"image","image":"r.example/a:1@\#(Self.digest)","args":["x"],"command":["/a"],"rootWritable":true,"imageSecret":"s"}"#
      ) == [])
    #expect(try faults(#"{"runtime":"image","image":"r.example/a:1"}"#) == ["spec.image"])
    #expect(try faults(#"{"runtime":"image"}"#) == ["spec.image"])
    #expect(try faults(#"{"runtime":"image","image":"r.example/A"}"#) == ["spec.image"])
    #expect(
      try faults(#"{"runtime":"image","image":"r.example/a@\#(Self.digest)","handler":"a.py"}"#) == ["spec.handler"])
    #expect(
      try faults(#"{"runtime":"python","handler":"a.py","image":"r.example/a@\#(Self.digest)","rootWritable":true}"#)
        == ["spec.image", "spec.rootWritable"])
  }
}
