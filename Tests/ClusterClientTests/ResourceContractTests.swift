import ClusterAPI
import ClusterClient
import ClusterModel
import ClusterTestSupport
import Testing

/// The contract of `ResourceService`, in process and through HTTP.
@Suite("Resources, in process and through HTTP") struct ResourceContractTests {
  static func function(_ name: String, labels: [String: String] = [:], spec: [String: JSONValue] = [:]) -> JSONValue {
    var metadata: [String: JSONValue] = ["name": .string(name)]
    if !labels.isEmpty { metadata["labels"] = .object(labels.mapValues { .string($0) }) }
    let base: [String: JSONValue] = ["runtime": .string("python"), "handler": .string("handler.py")]
    return .object([
      "apiVersion": .string("apus.dev/v1"), "kind": .string("Function"), "metadata": .object(metadata),
      "spec": .object(base.merging(spec) { _, new in new }),
    ])
  }

  @Test(arguments: Wiring.allCases) func `what was created is read back the same`(_ wiring: Wiring) async throws {
    try await World.run { world in
      let resources = try world.resources(wiring)
      let created = try await resources.create(.function, namespace: "default", object: Self.function("greet"))
      let read = try await resources.get(.function, namespace: "default", name: "greet")
      #expect(created == read)
      #expect(read.at(path: "metadata.namespace") == .string("default"))
      #expect(read.at(path: "spec.handler") == .string("handler.py"))
    }
  }

  @Test(arguments: Wiring.allCases) func `a missing object is 404 with its name`(_ wiring: Wiring) async throws {
    try await World.run { world in
      let resources = try world.resources(wiring)
      let error = await #expect(throws: APIStatus.self) {
        _ = try await resources.get(.function, namespace: "default", name: "nope")
      }
      #expect(error?.code == 404)
      #expect(error?.message == "functions.apus.dev \"nope\" not found")
      #expect(error?.details?.name == "nope")
    }
  }

  @Test(arguments: Wiring.allCases) func `a second object of a name is 409 AlreadyExists`(_ wiring: Wiring) async throws
  {
    try await World.run { world in
      let resources = try world.resources(wiring)
      _ = try await resources.create(.function, namespace: "default", object: Self.function("greet"))
      let error = await #expect(throws: APIStatus.self) {
        _ = try await resources.create(.function, namespace: "default", object: Self.function("greet"))
      }
      #expect(error?.code == 409)
      #expect(error?.reason == "AlreadyExists")
    }
  }

  @Test(arguments: Wiring.allCases) func `every fault of an object is a cause`(_ wiring: Wiring) async throws {
    try await World.run { world in
      let resources = try world.resources(wiring)
      let object = Self.function("greet", spec: ["timeout": .string("soon"), "colour": .string("red")])
      let error = await #expect(throws: APIStatus.self) {
        _ = try await resources.create(.function, namespace: "default", object: object)
      }
      #expect(error?.code == 422)
      #expect(error?.details?.causes?.compactMap(\.field) == ["spec.colour", "spec.timeout"])
    }
  }

  @Test(arguments: Wiring.allCases) func `an update with an old version is 409`(_ wiring: Wiring) async throws {
    try await World.run { world in
      let resources = try world.resources(wiring)
      let first = try await resources.create(.function, namespace: "default", object: Self.function("greet"))
      var changed = first
      changed["spec"] = first["spec"]?.merging(patch: .object(["timeout": .string("5s")]))
      let second = try await resources.update(
        .function, namespace: "default", name: "greet", subresource: nil, object: changed)
      #expect(second.at(path: "spec.timeout") == .string("5s"))
      let error = await #expect(throws: APIStatus.self) {
        _ = try await resources.update(
          .function, namespace: "default", name: "greet", subresource: nil, object: changed)
      }
      #expect(error?.code == 409)
      #expect(error?.reason == "Conflict")
    }
  }

  @Test(arguments: Wiring.allCases) func `a merge patch changes and removes members`(_ wiring: Wiring) async throws {
    try await World.run { world in
      let resources = try world.resources(wiring)
      let object = Self.function("greet", labels: ["a": "1", "b": "2"])
      _ = try await resources.create(.function, namespace: "default", object: object)
      let patch = JSONValue.object(["metadata": .object(["labels": .object(["a": .null, "c": .string("3")])])])
      let patched = try await resources.patch(
        .function, namespace: "default", name: "greet", subresource: nil, patch: patch)
      #expect(patched.at(path: "metadata.labels") == .object(["b": .string("2"), "c": .string("3")]))
    }
  }

  @Test(arguments: Wiring.allCases) func `status is written apart from the rest`(_ wiring: Wiring) async throws {
    try await World.run { world in
      let resources = try world.resources(wiring)
      var object = try await resources.create(.function, namespace: "default", object: Self.function("greet"))
      object["status"] = .object(["readyPods": .int(2)])
      object["spec"] = .object([:])
      let written = try await resources.update(
        .function, namespace: "default", name: "greet", subresource: .status, object: object)
      #expect(written.at(path: "status.readyPods") == .int(2))
      #expect(written.at(path: "spec.runtime") == .string("python"))
    }
  }

  @Test(arguments: Wiring.allCases) func `lists honour selectors and pages`(_ wiring: Wiring) async throws {
    try await World.run { world in
      let resources = try world.resources(wiring)
      for (name, tier) in [("a", "web"), ("b", "web"), ("c", "batch")] {
        let object = Self.function(name, labels: ["tier": tier])
        _ = try await resources.create(.function, namespace: name == "b" ? "other" : "default", object: object)
      }
      var options = ListOptions()
      options.labels = try LabelSelector(parsing: "tier in (web,none),tier!=batch")
      let web = try await resources.list(.function, namespace: nil, options: options)
      #expect(web.items.map { $0.at(path: "metadata.name") } == [.string("a"), .string("b")])
      options = ListOptions()
      options.fields = try FieldSelector(parsing: "metadata.name=c", supported: ["metadata.name"])
      #expect(try await resources.list(.function, namespace: "default", options: options).items.count == 1)
      options = ListOptions()
      options.limit = 2
      let first = try await resources.list(.function, namespace: nil, options: options)
      #expect(first.items.count == 2)
      options.continueToken = first.continueToken
      #expect(options.continueToken != nil)
      let rest = try await resources.list(.function, namespace: nil, options: options)
      #expect(rest.items.count == 1)
      #expect(rest.continueToken == nil)
    }
  }

  @Test(arguments: Wiring.allCases) func `a delete checks the uid and answers the last state`(_ wiring: Wiring)
    async throws
  {
    try await World.run { world in
      let resources = try world.resources(wiring)
      let created = try await resources.create(.function, namespace: "default", object: Self.function("greet"))
      let error = await #expect(throws: APIStatus.self) {
        _ = try await resources.delete(.function, namespace: "default", name: "greet", uid: "another")
      }
      #expect(error?.code == 409)
      let uid = created.at(path: "metadata.uid")?.stringValue
      let last = try await resources.delete(.function, namespace: "default", name: "greet", uid: uid)
      #expect(last == created)
    }
  }

  @Test(arguments: Wiring.allCases) func `a watch tells every change in order`(_ wiring: Wiring) async throws {
    try await World.run { world in
      let resources = try world.resources(wiring)
      let list = try await resources.list(.function, namespace: nil, options: ListOptions())
      let events = try await resources.watch(
        .function, namespace: "default", options: ListOptions(), after: list.resourceVersion)
      _ = try await resources.create(.function, namespace: "default", object: Self.function("greet"))
      _ = try await resources.create(.function, namespace: "other", object: Self.function("unseen"))
      _ = try await resources.patch(
        .function, namespace: "default", name: "greet", subresource: nil,
        patch: .object(["spec": .object(["timeout": .string("9s")])]))
      _ = try await resources.delete(.function, namespace: "default", name: "greet", uid: nil)
      var seen: [String] = []
      for try await event in events {
        if case .bookmark = event { continue }
        seen.append(event.type)
        if seen.count == 3 { break }
      }
      #expect(seen == ["ADDED", "MODIFIED", "DELETED"])
    }
  }

  @Test(arguments: Wiring.allCases) func `a watch without a version starts with what is there`(_ wiring: Wiring)
    async throws
  {
    try await World.run { world in
      let resources = try world.resources(wiring)
      let created = try await resources.create(.function, namespace: "default", object: Self.function("greet"))
      let events = try await resources.watch(.function, namespace: nil, options: ListOptions(), after: nil)
      var first: WatchEvent?
      for try await event in events {
        first = event
        break
      }
      #expect(first == .added(created))
    }
  }

  @Test(arguments: Wiring.allCases) func `a watch from a forgotten version is 410`(_ wiring: Wiring) async throws {
    try await World.run { world in
      let resources = try world.resources(wiring)
      _ = try await resources.create(.function, namespace: "default", object: Self.function("greet"))
      world.resources.compact()
      let error = await #expect(throws: APIStatus.self) {
        _ = try await resources.watch(.function, namespace: nil, options: ListOptions(), after: "5")
      }
      #expect(error?.code == 410)
      #expect(error?.reason == "Expired")
    }
  }

  @Test(arguments: Wiring.allCases) func `dropping a watch ends it at its source`(_ wiring: Wiring) async throws {
    try await World.run { world in
      let resources = try world.resources(wiring)
      let watching = Task {
        let events = try await resources.watch(.function, namespace: nil, options: ListOptions(), after: nil)
        for try await _ in events {}
      }
      #expect(await eventually { world.resources.watchers == 1 })
      watching.cancel()
      #expect(await eventually { world.resources.watchers == 0 })
    }
  }
}
