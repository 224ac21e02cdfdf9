import ClusterAPI
import ClusterModel
import ClusterTestSupport
import StateStore
import Testing

@testable import ControlPlane

@Suite("Resources")
struct ResourceTests {
  private func function(_ name: String, _ spec: [String: JSONValue]) -> JSONValue {
    .object([
      "apiVersion": .string("apus.dev/v1"), "kind": .string("Function"),
      "metadata": .object(["name": .string(name)]), "spec": .object(spec),
    ])
  }

  private let minimal: [String: JSONValue] = ["runtime": .string("python"), "handler": .string("h.py")]

  @Test("defaults are written back into the object")
  func defaults() async throws {
    let cluster = try await TestCluster()
    let made = try await cluster.plane.resources.create(.function, namespace: "default", object: function("f", minimal))
    #expect(made.at(path: "spec.resources.memory") == .string("128Mi"))
    #expect(made.at(path: "spec.scale.max") == .int(10))
    #expect(made.at(path: "metadata.generation") == .int(1))
    #expect(made.at(path: "metadata.resourceVersion")?.stringValue != nil)
  }

  @Test("every fault of an object is reported at once, each with its path")
  func faults() async throws {
    let cluster = try await TestCluster()
    let spec: [String: JSONValue] = [
      "runtime": .string("pyton"), "handler": .string("../h.py"), "resources": .object(["memory": .string("128MB")]),
      "tiemout": .string("3s"), "concurrency": .int(0),
    ]
    do {
      _ = try await cluster.plane.resources.create(.function, namespace: "default", object: function("Bad_", spec))
      Issue.record("an invalid function was stored")
    } catch {
      #expect(error.code == 422)
      let fields = error.details?.causes?.compactMap(\.field) ?? []
      #expect(
        fields == [
          "metadata.name", "spec.concurrency", "spec.handler", "spec.resources.memory", "spec.runtime", "spec.tiemout",
        ])
      #expect(error.message.contains("\"128MB\" is not a quantity; use 128Mi or 128M"))
      #expect(error.message.contains("did you mean \"timeout\"?"))
      #expect(error.message.contains("did you mean \"python\"?"))
    }
  }

  @Test("the bounds of an answer lie within the call's, and reach the gateways' routes")
  func answerTimeouts() async throws {
    let cluster = try await TestCluster()
    func create(_ name: String, _ timeouts: [String: String]) async throws(APIStatus) -> JSONValue {
      var spec = minimal
      spec["timeout"] = .string("10s")
      spec["timeouts"] = .object(timeouts.mapValues { .string($0) })
      return try await cluster.plane.resources.create(
        .function, namespace: "default", object: function(name, spec))
    }
    for (field, value, words) in [
      ("responseStart", "11s", "spec.timeout 10s"), ("responseIdle", "1m", "spec.timeout 10s"),
      ("responseIdle", "0s", "out of range"), ("responseStart", "soon", "is not a duration"),
      ("responseStrat", "1s", "did you mean \"responseStart\"?"),
    ] {
      let error = await #expect(throws: APIStatus.self) { _ = try await create("f", [field: value]) }
      #expect(error?.code == 422 && error?.details?.causes?.first?.field == "spec.timeouts.\(field)")
      #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
    }
    let made = try await create("f", ["responseStart": "10s", "responseIdle": "250ms"]).decoded(as: Function.self)
    let route = FunctionRoute(function: made, revision: nil, template: made.spec, unavailable: nil)
    #expect(route.responseStart == .seconds(10) && route.responseIdle == TimeSpan(milliseconds: 250))
    let plain = try await cluster.plane.resources.create(
      .function, namespace: "default", object: function("g", minimal))
    #expect(plain.at(path: "spec.timeouts") == nil, "there is no default")
  }

  @Test("an update with a stale resourceVersion is refused and changes nothing")
  func staleUpdate() async throws {
    let cluster = try await TestCluster()
    let resources = cluster.plane.resources
    let made = try await resources.create(.function, namespace: "default", object: function("f", minimal))
    _ = try await resources.patch(
      .function, namespace: "default", name: "f", subresource: nil,
      patch: .object(["spec": .object(["concurrency": .int(2)])]))
    do {
      _ = try await resources.update(.function, namespace: "default", name: "f", subresource: nil, object: made)
      Issue.record("a stale update was taken")
    } catch {
      #expect(error.code == 409)
    }
    #expect(try await resources.get(.function, namespace: "default", name: "f").at(path: "spec.concurrency") == .int(2))
  }

  @Test("generation moves with the spec only, and a write that changes nothing keeps the version")
  func generation() async throws {
    let cluster = try await TestCluster()
    let resources = cluster.plane.resources
    let made = try await resources.create(.function, namespace: "default", object: function("f", minimal))
    let labelled = try await resources.patch(
      .function, namespace: "default", name: "f", subresource: nil,
      patch: .object(["metadata": .object(["labels": .object(["a": .string("b")])])]))
    #expect(labelled.at(path: "metadata.generation") == .int(1))
    let same = try await resources.patch(
      .function, namespace: "default", name: "f", subresource: nil, patch: .object([:]))
    #expect(same.at(path: "metadata.resourceVersion") == labelled.at(path: "metadata.resourceVersion"))
    #expect(made.at(path: "metadata.uid") == same.at(path: "metadata.uid"))
  }

  @Test("a secret's values are sealed in the store and never answered")
  func secrets() async throws {
    let cluster = try await TestCluster()
    let object = JSONValue.object([
      "apiVersion": .string("v1"), "kind": .string("Secret"), "metadata": .object(["name": .string("key")]),
      "stringData": .object(["token": .string("hunter2hunter2")]),
    ])
    let shown = try await cluster.plane.resources.create(.secret, namespace: "default", object: object)
    #expect(shown["data"] == nil && shown["stringData"] == nil && shown["sealed"] == nil)
    #expect(shown.at(path: "lengths.token") == .int(14))
    let stored = try #require(try await cluster.durable.get("/secrets/default/key"))
    #expect(!String(decoding: stored.value, as: UTF8.self).contains("hunter2"))
  }

  @Test("what kubectl apply notes of a secret has the keys and no value, when it is made, changed or read")
  func lastApplied() async throws {
    let cluster = try await TestCluster()
    let resources = cluster.plane.resources
    let note = "kubectl.kubernetes.io/last-applied-configuration"
    func secret(_ value: String) -> JSONValue {
      let manifest =
        #"{"kind":"Secret","data":{"a":"\#(value)"},"stringData":{"b":"\#(value)"},"metadata":{"name":"key"}}"#
      let annotations = JSONValue.object([note: .string(manifest), "team": .string("a")])
      return .object([
        "apiVersion": .string("v1"), "kind": .string("Secret"),
        "metadata": .object(["name": .string("key"), "annotations": annotations]),
        "stringData": .object(["b": .string(value)]),
      ])
    }
    let made = try await resources.create(.secret, namespace: "default", object: secret("hunter2hunter2"))
    let changed = try await resources.patch(
      .secret, namespace: "default", name: "key", subresource: nil, patch: secret("hunter3hunter3"))
    for object in [made, changed, try await resources.get(.secret, namespace: "default", name: "key")] {
      let annotations = object["metadata"]?["annotations"]
      #expect(annotations?["team"] == .string("a"))
      let kept = try JSONValue(bytes: Array((annotations?[note]?.stringValue ?? "").utf8))
      #expect(kept["data"] == .object(["a": .string("")]) && kept["stringData"] == .object(["b": .string("")]))
    }
    let stored = try #require(try await cluster.durable.get("/secrets/default/key"))
    #expect(!String(decoding: stored.value, as: UTF8.self).contains("hunter"))
    let odd = JSONValue.object(["metadata": .object(["annotations": .object([note: .string("{data: hunter4")])])])
    let after = try await resources.patch(
      .secret, namespace: "default", name: "key", subresource: nil, patch: odd)
    #expect(after["metadata"]?["annotations"]?[note] == nil, "a note that cannot be read goes")
  }

  @Test("a watch that begins with what is there says when that was all, and a slow one misses no soft change")
  func initialEvents() async throws {
    let cluster = try await TestCluster()
    let resources = cluster.plane.resources
    for number in 0..<3 {
      _ = try await resources.create(.function, namespace: "default", object: function("f\(number)", minimal))
    }
    let watch = try await resources.watch(.function, namespace: "default", options: ListOptions(), after: nil)
    var events = watch.makeAsyncIterator()
    var names: Set<String> = []
    while let event = try await events.next() {
      if case .bookmark(_, true) = event { break }
      guard case .added(let object) = event else { continue }
      names.insert(object.at(path: "metadata.name")?.stringValue ?? "")
    }
    #expect(names == ["f0", "f1", "f2"])
    #expect(resources.overlay.watching == 1)
    await #expect(throws: APIStatus.self) {
      _ = try await resources.watch(.function, namespace: "default", options: ListOptions(), after: "abc")
    }
    let ended = Task { for try await _ in watch {} }
    ended.cancel()
    _ = await ended.result
    #expect(await eventually { resources.overlay.watching == 0 }, "who left is not told any more")
    let overlay = SoftOverlay()
    let changes = overlay.changes()
    for round in 1...2 {
      for number in 0..<1000 { overlay.update("default/g\(number)") { $0.readyPods = round } }
    }
    var signals = changes.signals.makeAsyncIterator()
    _ = await signals.next()
    #expect(changes.take().count == 1000, "each once, and none is forgotten")
  }

  @Test("nothing is left or made in a namespace that is being deleted, whoever deletes in it meanwhile")
  func namespaces() async throws {
    let cluster = try await TestCluster()
    let resources = cluster.plane.resources
    let space = JSONValue.object([
      "apiVersion": .string("v1"), "kind": .string("Namespace"), "metadata": .object(["name": .string("team")]),
    ])
    for round in 0..<5 {
      _ = try await resources.create(.namespace, namespace: nil, object: space)
      for number in 0..<30 {
        _ = try await resources.create(.function, namespace: "team", object: function("f\(number)", minimal))
      }
      await withTaskGroup(of: Void.self) { group in
        group.addTask {
          do { _ = try await resources.delete(.namespace, namespace: nil, name: "team", uid: nil) } catch {
            Issue.record("round \(round): \(error)")
          }
        }
        group.addTask {
          for number in (0..<30).reversed() {
            _ = try? await resources.delete(.function, namespace: "team", name: "f\(number)", uid: nil)
          }
        }
        group.addTask {
          // Until the namespace takes no more.
          for number in 0..<100_000 {
            let made = try? await resources.create(
              .function, namespace: "team", object: function("g\(number)", minimal))
            if made == nil { return }
          }
        }
      }
      let left = try await resources.list(.function, namespace: "team", options: ListOptions()).items
      #expect(left.isEmpty, "round \(round): \(left.count)")
    }
  }

  @Test("a node whose worker is joined is not deleted")
  func joinedNode() async throws {
    let cluster = try await TestCluster()
    let worker = try await TestWorker("w1", cluster)
    let resources = cluster.plane.resources
    #expect(await eventually { (try? await resources.get(.node, namespace: nil, name: "w1")) != nil })
    let error = await #expect(throws: APIStatus.self) {
      _ = try await resources.delete(.node, namespace: nil, name: "w1", uid: nil)
    }
    #expect(error?.code == 409 && error?.message.contains("apus drain w1") == true)
    await worker.vanish()
    cluster.clock.advance(milliseconds: 10_000)
    #expect(await eventually { (try? await resources.delete(.node, namespace: nil, name: "w1", uid: nil)) != nil })
  }

  @Test("a watch sees objects enter and leave its selector as ADDED and DELETED")
  func selectorWatch() async throws {
    let cluster = try await TestCluster()
    let resources = cluster.plane.resources
    var options = ListOptions()
    options.labels = try LabelSelector(parsing: "tier=gold")
    let start = try await resources.list(.function, namespace: "default", options: options).resourceVersion
    let watch = try await resources.watch(.function, namespace: "default", options: options, after: start)
    _ = try await resources.create(.function, namespace: "default", object: function("f", minimal))
    for tier in ["gold", "iron"] {
      let labels = JSONValue.object(["labels": .object(["tier": .string(tier)])])
      _ = try await resources.patch(
        .function, namespace: "default", name: "f", subresource: nil, patch: .object(["metadata": labels]))
    }
    var seen: [String] = []
    for try await event in watch {
      if case .bookmark = event { continue }
      seen.append(event.type)
      if event.type == "DELETED" { break }
    }
    #expect(seen.first == "ADDED" && seen.last == "DELETED")
  }

  @Test("a watch from before this boot of a soft kind is told 410")
  func oldWatch() async throws {
    let cluster = try await TestCluster(boot: 7)
    do {
      let watch = try await cluster.plane.resources.watch(
        .pod, namespace: "default", options: ListOptions(), after: String(MemoryStoreBoot.six))
      for try await _ in watch {}
      Issue.record("the watch went on")
    } catch {
      #expect((error as? APIStatus)?.code == 410)
    }
  }

  private enum MemoryStoreBoot { static let six: Int64 = (6 << 40) + 5 }

  @Test("an object in a namespace that is not there is refused")
  func missingNamespace() async throws {
    let cluster = try await TestCluster()
    do {
      _ = try await cluster.plane.resources.create(.function, namespace: "nowhere", object: function("f", minimal))
      Issue.record("it was stored")
    } catch {
      #expect(error.code == 404)
      #expect(error.message == "namespaces \"nowhere\" not found")
    }
  }
}
