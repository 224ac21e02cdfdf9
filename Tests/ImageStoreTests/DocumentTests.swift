import ClusterTestSupport
import Testing

@testable import ImageStore

@Suite("Documents of images")
struct DocumentTests {
  private static let digest = "sha256:" + String(repeating: "1f", count: 32)

  private func document(_ text: String) throws -> ImageDocument {
    try ImageDocument(Array(text.utf8), what: "the manifest", limits: ImageLimits())
  }

  @Test("an index and a manifest are told apart, in OCI's and in Docker's form")
  func forms() throws {
    let entry =
      #"{"digest":"\#(Self.digest)","size":5,"platform":{"os":"linux","architecture":"arm64","variant":"v8"}}"#
    guard case .index(let entries) = try document(#"{"schemaVersion":2,"manifests":[\#(entry)]}"#) else {
      Issue.record("no index")
      return
    }
    #expect(entries.first?.platform?.architecture == "arm64")
    let docker =
      #"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":\#(entry),"layers":[\#(entry)]}"#
    guard case .manifest(let manifest) = try document(docker) else {
      Issue.record("no manifest")
      return
    }
    #expect(manifest.layers.map(\.digest) == [Self.digest])
  }

  @Test(
    "what cannot be used is refused with its name",
    arguments: [
      "", "{}", "[]", "null", #"{"schemaVersion":1,"fsLayers":[{}]}"#,
      #"{"manifests":[{"digest":"sha256:1","size":1}]}"#, #"{"manifests":[{"digest":"\#(digest)","size":-1}]}"#,
      #"{"manifests":[{"digest":"\#(digest)"}]}"#,
      #"{"config":{"digest":"\#(digest)","size":1},"layers":[{"digest":"sha512:\#(digest)","size":1}]}"#,
      #"{"config":{"digest":"\#(digest)","size":1},"layers":[{"digest":"\#(digest)","size":1,"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}]}"#,
    ])
  func refused(text: String) {
    let error = #expect(throws: ImageError.self) { _ = try document(text) }
    #expect(error?.description.contains("the manifest") == true)
  }

  @Test("too many layers and deep nesting are refused")
  func bounds() {
    let part = #"{"digest":"\#(Self.digest)","size":1}"#
    let layers = [String](repeating: part, count: 200).joined(separator: ",")
    let many = #expect(throws: ImageError.self) { _ = try document(#"{"config":\#(part),"layers":[\#(layers)]}"#) }
    #expect(many?.description.contains("200 layers") == true)
    let deep = String(repeating: "[", count: 2000)
    #expect(throws: ImageError.self) { _ = try document(deep) }
  }

  private func config(_ text: String, layers: Int = 1) throws -> ImageConfig {
    try ImageConfig(Array(text.utf8), layers: layers, what: "the configuration")
  }

  @Test("a configuration with nothing said has nothing, and nulls are nothing")
  func config() throws {
    let bare = try config(
      #"{"architecture":"amd64","os":"linux","config":{"Env":null,"Entrypoint":null,"Cmd":["a"],"ExposedPorts":{"80/tcp":{}}},"rootfs":{"type":"layers","diff_ids":["\#(Self.digest)"]}}"#
    )
    #expect(bare.command == ["a"] && bare.entrypoint.isEmpty && bare.environment.isEmpty && bare.user.isEmpty)
    #expect(bare.platform == ImagePlatform(architecture: "amd64"))
  }

  @Test(
    "a configuration that does not fit is refused",
    arguments: [
      #"{"rootfs":{"diff_ids":[]}}"#, #"{"rootfs":{"diff_ids":["x"]}}"#, #"{}"#,
      #"{"config":{"Cmd":["a\u0000b"]},"rootfs":{"diff_ids":["\#(digest)"]}}"#,
      #"{"config":{"WorkingDir":"srv"},"rootfs":{"diff_ids":["\#(digest)"]}}"#,
      #"{"config":{"Cmd":"sh"},"rootfs":{"diff_ids":["\#(digest)"]}}"#,
    ])
  func configRefused(text: String) { #expect(throws: ImageError.self) { _ = try config(text) } }

  @Test("a challenge is read with its quotes and commas")
  func challenge() {
    let header =
      #"Bearer realm="https://auth.example/token?a=b",service="reg istry",scope="repository:a/b:pull,push""#
    let challenge = RegistryChallenge(header)
    #expect(
      challenge
        == .bearer(realm: "https://auth.example/token?a=b", service: "reg istry", scope: "repository:a/b:pull,push"))
    #expect(
      challenge?.tokenURL(defaultScope: "x")
        == "https://auth.example/token?a=b&service=reg%20istry&scope=repository%3Aa%2Fb%3Apull%2Cpush")
    #expect(RegistryChallenge("basic realm=x") == .basic)
    for text in ["", "Digest x=y", "Bearer", "Bearer service=x"] { #expect(RegistryChallenge(text) == nil, "\(text)") }
    #expect(RegistryCredential(user: "Aladdin", password: "open sesame").basic == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
  }
}
