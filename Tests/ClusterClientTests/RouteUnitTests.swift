import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import StateStore
import Testing

@testable import ControlPlane
@testable import HTTPService

/// The pure parts behind the routes, and the cluster's identity.
@Suite("Paths, rules, tables, files") struct RouteUnitTests {
  @Test func `paths mean what Kubernetes means by them`() {
    #expect(APIPath(group: "", rest: "") == .kinds)
    #expect(APIPath(group: "", rest: "/pods") == .collection(.pod, namespace: nil))
    #expect(APIPath(group: "", rest: "/namespaces") == .collection(.namespace, namespace: nil))
    #expect(APIPath(group: "", rest: "/namespaces/a") == .object(.namespace, namespace: nil, name: "a"))
    #expect(APIPath(group: "", rest: "/namespaces/a/status") == .part(.namespace, namespace: nil, name: "a", .status))
    #expect(APIPath(group: "", rest: "/namespaces/a/pods") == .collection(.pod, namespace: "a"))
    #expect(APIPath(group: "", rest: "/namespaces/a/pods/p") == .object(.pod, namespace: "a", name: "p"))
    #expect(APIPath(group: "", rest: "/namespaces/a/pods/p/log") == .podLog(namespace: "a", name: "p"))
    let scale = APIPath(group: "apus.dev", rest: "/namespaces/a/functions/f/scale")
    #expect(scale == .part(.function, namespace: "a", name: "f", .scale))
    #expect(APIPath(group: "apus.dev", rest: "/logs") == .logs(namespace: nil))
    #expect(APIPath(group: "apus.dev", rest: "/namespaces/a/logs") == .logs(namespace: "a"))
    let artifact = APIPath(group: "apus.dev", rest: "/namespaces/a/artifacts/sha256%3Aab")
    #expect(artifact == .artifact(namespace: "a", digest: "sha256:ab"))
    for rest in [
      "/pods/p", "/namespaces/a/nodes", "/functions", "/namespaces/a/pods/p/scale", "/namespaces/a/pods/p/log/x",
    ] {
      #expect(APIPath(group: "", rest: rest) == nil, "\(rest)")
    }
  }

  @Test func `nobody gets further than the contract says`() {
    let everything: [Access] = [
      .administer("x"), .workAs(node: "a"), .certify(.node, "a"), .secrets(podNode: "a"), .readArtifact(nodes: ["a"]),
      .appendLogs(source: "a/1"), .route(gateway: "a"),
    ]
    func allowed(_ principal: Principal) -> [Access] { everything.filter { Authorization.permits(principal, $0) } }
    #expect(allowed(.anonymous).isEmpty)
    #expect(allowed(.node("b")).isEmpty)
    #expect(allowed(.gateway("b")).isEmpty)
    #expect(allowed(.joiner("a", .node)) == [.certify(.node, "a")])
    #expect(allowed(.gateway("a")) == [.route(gateway: "a")])
    #expect(allowed(.node("a")) == Array(everything[1..<6]))
    #expect(allowed(.admin).count == everything.count - 1)
    #expect(!Authorization.permits(.node("a"), .appendLogs(source: "ab/1")))
    #expect(!Authorization.permits(.node("a"), .appendLogs(source: "a/")))
    #expect(!Authorization.permits(.node("a"), .secrets(podNode: nil)))
    #expect(Authorization.permits(.gateway("a"), .appendLogs(source: "gateway/a")))
    #expect(Authorization.permits(.gateway("a"), .route(gateway: "a.4f1")), "each of its processes")
    #expect(!Authorization.permits(.gateway("a"), .route(gateway: "ab")))
    #expect(!Authorization.permits(.gateway("a"), .route(gateway: "b.a")))
  }

  @Test func `a certificate's name is a principal only in full`() {
    #expect(Principal(commonName: "system:node:w") == .node("w"))
    #expect(Principal(commonName: "system:gateway:g") == .gateway("g"))
    #expect(Principal(commonName: "system:admin") == .admin)
    for name in ["", "admin", "system:node:", "system:gateway:", "system:joiner:x", "apus server"] {
      #expect(Principal(commonName: name) == nil, "\(name)")
    }
  }

  @Test func `unknown fields are refused, dropped with a warning, or dropped`() throws {
    let object = ResourceContractTests.function(
      "f", spec: ["colour": .string("red"), "scale": .object(["mni": .int(1)])])
    #expect(try FieldValidation.apply(QueryParameters(nil), to: object, .function).object == object)
    let error = #expect(throws: APIStatus.self) {
      _ = try FieldValidation.apply(QueryParameters("fieldValidation=Strict"), to: object, .function)
    }
    #expect(error?.code == 400)
    let words = "strict decoding error: unknown field \"spec.colour\", unknown field \"spec.scale.mni\""
    #expect(error?.message.hasPrefix(words) == true)
    let warned = try FieldValidation.apply(QueryParameters("fieldValidation=Warn"), to: object, .function)
    #expect(warned.warnings.count == 2)
    #expect(warned.object.at(path: "spec.scale") == .object([:]))
    #expect(warned.object.at(path: "spec.colour") == nil)
    let ignored = try FieldValidation.apply(QueryParameters("fieldValidation=Ignore"), to: object, .function)
    #expect(ignored.warnings.isEmpty && ignored.object == warned.object)
  }

  @Test func `a path with dots and indices is removed where it stands`() {
    let value = JSONValue.object([
      "a.b": .int(1), "list": .array([.object(["x": .int(1)]), .object(["x": .int(2), "y": .int(3)])]),
    ])
    #expect(value.removing(path: "a.b") == .object(["list": value["list"] ?? .null]))
    let shorter = JSONValue.array([.object(["x": .int(1)]), .object(["x": .int(2)])])
    #expect(value.removing(path: "list[1].y").at(path: "list") == shorter)
    #expect(value.removing(path: "list[7].y") == value)
    #expect(value.removing(path: "nothing.here") == value)
  }

  @Test func `a JSON patch is 415 with what to send instead, a strategic one is for core kinds only`() throws {
    let list = JSONValue.array([.object(["op": .string("remove")])])
    let error = #expect(throws: APIStatus.self) {
      _ = try PatchBody.mergePatch(list, contentType: "application/json-patch+json", .function)
    }
    #expect(error?.code == 415)
    #expect(error?.message.contains("--type=merge") == true)
    let strategic = "application/strategic-merge-patch+json"
    let patch = JSONValue.object(["spec": .object(["unschedulable": .bool(true), "$setElementOrder/x": .array([])])])
    let merged = try PatchBody.mergePatch(patch, contentType: strategic, .node)
    #expect(merged == .object(["spec": .object(["unschedulable": .bool(true)])]))
    #expect(throws: APIStatus.self) { try PatchBody.mergePatch(patch, contentType: strategic, .function) }
    let text = #expect(throws: APIStatus.self) {
      _ = try PatchBody.mergePatch(.int(1), contentType: "application/merge-patch+json; charset=utf-8", .node)
    }
    #expect(text?.code == 400)
  }

  @Test(arguments: [
    (0, "0s"), (59_999, "59s"), (90_000, "90s"), (120_000, "2m"), (252_000, "4m12s"), (600_000, "10m"),
    (10_800_000, "3h"), (18_180_000, "5h3m"), (28_800_000, "8h"), (172_800_000, "2d"), (270_000_000, "3d3h"),
    (864_000_000, "10d"), (63_072_000_000, "2y"), (-5000, "<invalid>"),
  ])
  func `ages read like kubectl's`(_ milliseconds: Int64, _ text: String) {
    #expect(HumanText.age(milliseconds: milliseconds) == text)
  }

  @Test func `figures are short`() {
    let times = [0.41, 1.14, 9.0, 9.96, 35.2, 12_345, 0.01, 0].map { HumanText.milliseconds($0) }
    #expect(times == ["0.4ms", "1.1ms", "9ms", "10ms", "35ms", "12.3s", "<0.1ms", "0ms"])
    #expect(HumanText.milliseconds(nil) == "-")
    let sizes = [900, 1024, 12_582_912, 1_503_238_553].map { HumanText.bytes($0) }
    #expect(sizes == ["900", "1Ki", "12Mi", "1.4Gi"])
  }

  @Test func `every kind's cells are as many as its columns`() {
    for kind in ResourceKind.allCases {
      let form = TableForm.of(kind)
      #expect(form.cells(.object([:]), .now()).count == form.columns.count, "\(kind)")
      #expect(form.columns.filter { $0.format == "name" }.count == 1, "\(kind)")
    }
  }

  @Test func `only the first event of a watched table carries columns`() throws {
    let lines = WatchLines(kind: .pod, table: .metadata, bookmarks: false, now: { .now() })
    let pod = PodSample.pod("p", node: "n", image: "i")
    let events = try [WatchEvent.added(pod), .modified(pod)].map { try JSONValue(bytes: lines.line($0) ?? []) }
    let columns = events.map { $0.at(path: "object.columnDefinitions")?.arrayValue?.count }
    #expect(columns == [TableForm.pod.columns.count, 0])
    #expect(lines.line(.bookmark(resourceVersion: "5")) == nil)
  }

  @Test func `the end of what was there is a bookmark of its own, for those who asked for it`() throws {
    let end = WatchEvent.bookmark(resourceVersion: "5", endsInitial: true)
    func lines(_ bookmarks: Bool, _ marks: Bool) -> WatchLines {
      WatchLines(kind: .pod, table: nil, bookmarks: bookmarks, marksInitial: marks, now: { .now() })
    }
    let told = try JSONValue(bytes: lines(true, true).line(end) ?? [])
    #expect(told["type"] == .string("BOOKMARK") && told.at(path: "object.metadata.resourceVersion") == .string("5"))
    #expect(told["object"]?["metadata"]?["annotations"] == .object(["k8s.io/initial-events-end": .string("true")]))
    #expect(lines(true, false).line(end) == nil && lines(false, true).line(end) == nil)
    let usual = try JSONValue(bytes: lines(true, true).line(.bookmark(resourceVersion: "6")) ?? [])
    #expect(usual["object"]?["metadata"]?["annotations"] == nil)
  }

  @Test func `numbers and texts of a gateway are believed within bounds`() {
    var usage = FunctionUsage(namespace: "a", function: "f")
    (usage.calls, usage.errors, usage.inFlight) = (.max, .min, .max)
    usage.durations = [Int](repeating: .max, count: 1000)
    usage.coldMilliseconds = [1e300, -.infinity, .nan, 5]
    usage.errorCalls = [String](repeating: String(repeating: "x", count: 1 << 20), count: 50)
    let clamped = usage.clamped
    #expect(clamped.calls == FunctionUsage.countMaximum && clamped.errors == 0)
    #expect(clamped.durations.count == LatencyBuckets.count && clamped.durations.max() == FunctionUsage.countMaximum)
    #expect(clamped.coldMilliseconds == [StartupBreakdown.longest, 0, 0, 5])
    #expect(clamped.errorCalls.count == 5 && clamped.errorCalls.allSatisfy { $0.utf8.count < 200 })
    #expect(HumanText.milliseconds(1e300) == "-" && HumanText.milliseconds(1e9) == "1000000s")
    var startup = StartupBreakdown()
    (startup.placed, startup.ready, startup.started) = (.infinity, 1e300, -3)
    var detail = PodDetail(function: "f", revision: "f-00001", life: .ready)
    (detail.startup, detail.restarts, detail.memory) = (startup, .max, .max)
    #expect(detail.clamped.startup?.total == StartupBreakdown.longest)
    #expect(detail.clamped.restarts == PodDetail.restartsMaximum && detail.clamped.memory == 1 << 50)
  }

  @Test func `query parameters are decoded, plus signs are spaces`() {
    let query = QueryParameters("query=level%3Aerror+AND+a%2Bb&limit=5&limit=6&watch&empty=&bad=%zz")
    #expect(query["query"] == "level:error AND a+b")
    #expect(query["limit"] == "5")
    #expect(query.flag("watch") && !query.flag("nothing"))
    #expect(query["empty"] == nil)
    #expect(query["bad"] == "%zz")
  }

  private static let changed = """
    apiVersion: v1
    clusters:
    - cluster:
        certificate-authority-data: eA==
        server: https://10.0.0.1:6440
      name: apus
    contexts:
    - context:
        cluster: apus
        namespace: staging
        user: apus-admin
      name: apus
    users:
    - name: apus-admin
      user:
        token: apus-admin.1.2
    """

  @Test func `a kubeconfig is read back as it was written, and readable by its owner only`() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/kubeconfig"
    #expect(try Kubeconfig(text: Self.changed).namespace == "staging", "as kubectl config set-context writes it")
    let config = Kubeconfig(
      server: "https://10.0.0.1:6440", authority: "-----BEGIN CERTIFICATE-----\nx\n", token: "apus-admin.1.2",
      gateway: "http://127.0.0.1:8080")
    try config.write(to: path)
    #expect(try Kubeconfig.read(from: path) == config)
    #expect(try Kubeconfig.read(from: path + "x") == nil)
    #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
    #expect(throws: KubeconfigError.self) { try Kubeconfig(text: "server: https://x\n") }
  }

  // MARK: Keys and tokens

  @Test func `the authority and the server's certificate are kept, and made anew only when they must be`() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/pki"
    let now = Timestamp.now()
    let first = try CertificateAuthority(folder: path, now: now)
    let server = try first.server(names: ["10.0.0.1", "host-1"], now: now)
    let again = try CertificateAuthority(folder: path, now: now)
    #expect(again.pem == first.pem && again.keyHash == first.keyHash && first.keyHash.count == 43)
    #expect(try again.server(names: ["host-1"], now: now) == server)
    #expect(try again.server(names: ["host-2"], now: now) != server)
    let late = try again.server(names: ["host-2"], now: now.advanced(milliseconds: 370 * 86_400_000))
    #expect(late.validUntil > server.validUntil)
    for file in ["ca.key", "ca.crt", "server.key", "server.crt"] {
      #expect(try FileManager.default.attributesOfItem(atPath: "\(path)/\(file)")[.posixPermissions] as? Int == 0o600)
    }
    try FileManager.default.removeItem(atPath: "\(path)/ca.key")
    #expect(throws: SecurityError.self) { try CertificateAuthority(folder: path, now: now) }
  }

  @Test func `a text that is no certificate request is refused`() throws {
    let folder = try TemporaryFolder()
    let authority = try CertificateAuthority(folder: folder.path + "/pki", now: .now())
    for text in ["", "hello", authority.pem] {
      #expect(throws: SecurityError.self) { try authority.sign(request: text, for: .node, "w", now: .now()) }
    }
  }

  @Test func `the store holds no token, and a revoked one is refused`() async throws {
    let store = MemoryStore(boot: 1)
    let tokens = TokenRegistry(store: store, authorityHash: String(repeating: "h", count: 43))
    let admin = try await tokens.admin(present: nil)
    #expect(try await tokens.admin(present: admin) == admin)
    #expect(try await tokens.principal(bearer: admin) == .admin)
    let gateway = try await tokens.gateway(id: "g1")
    #expect(try await tokens.principal(bearer: gateway) == .gateway("g1"))
    let secret = admin.split(separator: ".").last.map(String.init) ?? ""
    let stored = try await store.listAll(prefix: TokenRegistry.prefix).items
    #expect(stored.count == 2)
    for item in stored { #expect(!String(decoding: item.value, as: UTF8.self).contains(secret)) }
    let crossed = "apus-admin." + gateway.split(separator: ".").dropFirst().joined(separator: ".")
    await #expect(throws: APIStatus.self) { try await tokens.principal(bearer: crossed) }
    try await tokens.revoke(id: String(admin.split(separator: ".")[1]))
    await #expect(throws: APIStatus.self) { try await tokens.principal(bearer: admin) }
    await #expect(throws: APIStatus.self) { try await tokens.join(life: .seconds(0)) }
  }
}
