import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import Testing

/// Unmodified kubectl against the API's routes.
@Suite("The real kubectl") struct KubectlTests {
  /// Two functions, one pod, one node, an event.
  static func furnish(_ world: World) async throws {
    let resources = world.resources
    _ = try await resources.create(
      .namespace, namespace: nil, object: try JSONValue(encoding: Namespace(name: "default")))
    var greet = ResourceContractTests.function("greet")
    greet["status"] = .object([
      "readyPods": .int(1), "wantedPods": .int(1), "servingRevision": .string("greet-00001"),
      "figures": .object([
        "inFlight": .int(0), "calls": .int(12), "p50Milliseconds": .double(0.4), "p99Milliseconds": .double(1.14),
        "coldP99Milliseconds": .double(9),
      ]),
    ])
    _ = try await resources.create(.function, namespace: "default", object: greet)
    _ = try await resources.create(
      .function, namespace: "default", object: ResourceContractTests.function("hello-node"))
    _ = try await resources.create(
      .pod, namespace: "default", object: PodSample.pod("greet-00001-abcde", node: "worker-1", image: "sha256:00"))
    var node = Node(metadata: ObjectMeta(name: "worker-1"))
    var status = NodeStatus()
    status.conditions = [Condition(type: "Ready", status: true, reason: "Heard", message: "", at: .now())]
    status.nodeInfo = NodeInfo(kernelVersion: "6.1", osImage: "Debian 12", version: "0.1.0", architecture: "amd64")
    status.capacity = ["cpu": "2", "memory": "1Gi", "pods": "100"]
    node.status = status
    _ = try await resources.create(.node, namespace: nil, object: try JSONValue(encoding: node))
    let event = Event(
      metadata: ObjectMeta(name: "greet.1", namespace: "default"),
      about: ObjectReference(.function, namespace: "default", name: "greet"), reason: "Deployed",
      message: "revision greet-00001 serves", warning: false, component: "control-plane", at: .now())
    _ = try await resources.create(.event, namespace: "default", object: try JSONValue(encoding: event))
  }

  static func cells(_ line: String) -> [String] { line.split(separator: " ").map(String.init) }

  @Test func `get functions,pods,nodes -o wide prints our columns`() async throws {
    try await World.run { world in
      try await Self.furnish(world)
      let result = try await Kubectl(world).run("get", "functions,pods,nodes", "-o", "wide")
      #expect(result.status == 0, "\(result.errors)")
      let lines = result.lines.map(Self.cells)
      let functions = try #require(lines.first { $0.contains("RUNTIME") })
      #expect(
        functions == [
          "NAME", "RUNTIME", "READY", "IN-FLIGHT", "CALLS", "P50", "P99", "COLD", "P99", "AGE", "REVISION", "SOURCE",
        ])
      let greet = try #require(lines.first { $0.first == "function.apus.dev/greet" })
      #expect(Array(greet[1..<8]) == ["python", "1/1", "0", "12", "0.4ms", "1.1ms", "9ms"])
      #expect(greet[9] == "greet-00001")
      let pod = try #require(lines.first { $0.first == "pod/greet-00001-abcde" })
      #expect(Array(pod[1..<4]) == ["f", "worker-1", "Ready"])
      let node = try #require(lines.first { $0.first == "node/worker-1" })
      #expect(Array(node[1..<3]) == ["Ready", "worker"])
      #expect(node[4] == "v0.1.0")
    }
  }

  @Test func `get without wide leaves the wide columns out`() async throws {
    try await World.run { world in
      try await Self.furnish(world)
      let pods = try await Kubectl(world).run("get", "po")
      #expect(
        Self.cells(pods.lines.first ?? "") == [
          "NAME", "FUNCTION", "STATUS", "AGE", "RESTARTS", "MEMORY", "STARTED", "IN",
        ])
      let all = try await Kubectl(world).run("get", "all")
      #expect(all.output.contains("function.apus.dev/greet") && all.output.contains("pod/greet-00001-abcde"))
    }
  }

  @Test func `-o yaml and -o name show the objects`() async throws {
    try await World.run { world in
      try await Self.furnish(world)
      let yaml = try await Kubectl(world).run("get", "function", "greet", "-o", "yaml")
      #expect(yaml.status == 0, "\(yaml.errors)")
      #expect(yaml.output.contains("kind: Function") && yaml.output.contains("handler: handler.py"))
      let names = try await Kubectl(world).run("get", "functions,pods,nodes", "-o", "name")
      #expect(names.lines.contains("node/worker-1"))
      let list = try await Kubectl(world).run("get", "pods", "-o", "json")
      let value = try JSONValue(bytes: Array(list.output.utf8))
      #expect(value["kind"] == .string("List"))
      #expect(value["items"]?.arrayValue?.count == 1)
    }
  }

  @Test func `get pods -w prints a change when it happens`() async throws {
    try await World.run { world in
      try await Self.furnish(world)
      let watch = try Kubectl(world).start(["get", "pods", "-w"])
      #expect(await eventually(within: .seconds(30)) { watch.output.contains("greet-00001-abcde") })
      #expect(await eventually { world.resources.watchers == 1 })
      _ = try await world.resources.create(
        .pod, namespace: "default", object: PodSample.pod("late-00001-xxxxx", node: "worker-1", image: "sha256:00"))
      #expect(await eventually { watch.output.contains("late-00001-xxxxx") })
      _ = try await world.resources.patch(
        .pod, namespace: "default", name: "late-00001-xxxxx", subresource: nil,
        patch: .object(["status": .object(["apus": .object(["life": .string("draining")])])]))
      #expect(await eventually { watch.output.contains("Draining") })
      watch.stop()
      _ = await watch.ended()
      #expect(watch.output.split(separator: "\n").filter { $0.hasPrefix("NAME") }.count == 1)
      #expect(await eventually { world.resources.watchers == 0 })
    }
  }

  @Test func `logs prints a pod's lines, and follows`() async throws {
    try await World.run { world in
      try await Self.furnish(world)
      func record(_ number: Int, pod: String = "greet-00001-abcde") -> [UInt8] {
        let record = LogRecord(
          time: Timestamp(milliseconds: 1_800_000_000_000 + Int64(number)), namespace: "default", function: "greet",
          pod: pod, stream: .stdout, msg: "line \(number)", fields: number == 2 ? ["n": .int(2)] : [:])
        return (try? Array(JSONCoding.encoder.encode(record))) ?? []
      }
      _ = try await world.logs.append(
        source: "w/1", firstSequence: 1, lines: [record(1), record(2), record(3, pod: "other")])
      let kubectl = try Kubectl(world)
      let text = try await kubectl.run("logs", "greet-00001-abcde")
      #expect(text.status == 0, "\(text.errors)")
      #expect(text.lines == ["line 1", "line 2 n=2"])
      let tail = try await kubectl.run("logs", "greet-00001-abcde", "--tail", "1", "--timestamps")
      #expect(tail.lines == ["2027-01-15T08:00:00.002000000Z line 2 n=2"])
      let follow = try kubectl.start(["logs", "-f", "greet-00001-abcde"])
      #expect(await eventually(within: .seconds(30)) { follow.output.contains("line 2") && world.logs.followers == 1 })
      _ = try await world.logs.append(source: "w/1", firstSequence: 4, lines: [record(4)])
      #expect(await eventually { follow.output.contains("line 4") })
      follow.stop()
      _ = await follow.ended()
      let missing = try await kubectl.run("logs", "nope")
      #expect(missing.status == 1)
      #expect(missing.errors.contains("pods \"nope\" not found"))
    }
  }

  @Test func `describe shows the object and its events`() async throws {
    try await World.run { world in
      try await Self.furnish(world)
      let kubectl = try Kubectl(world)
      let function = try await kubectl.run("describe", "function", "greet")
      #expect(function.status == 0, "\(function.errors)")
      #expect(function.output.contains("Handler:") && function.output.contains("revision greet-00001 serves"))
      let pod = try await kubectl.run("describe", "pod", "greet-00001-abcde")
      #expect(pod.status == 0, "\(pod.errors)")
      let node = try await kubectl.run("describe", "node", "worker-1")
      #expect(node.status == 0, "\(node.errors)")
    }
  }

  @Test func `label, patch, scale, cordon and delete change objects`() async throws {
    try await World.run { world in
      try await Self.furnish(world)
      let kubectl = try Kubectl(world)
      let commands: [[String]] = [
        ["label", "function", "greet", "tier=web"],
        ["patch", "fn", "greet", "--type=merge", "-p", #"{"spec":{"timeout":"3s"}}"#],
        ["scale", "functions/greet", "--replicas=2"], ["cordon", "worker-1"], ["delete", "function", "hello-node"],
      ]
      for words in commands {
        let running = try kubectl.start(words)
        let status = await running.ended()
        #expect(status == 0, "kubectl \(words.joined(separator: " ")): \(running.errors)")
      }
      let greet = try await world.resources.get(.function, namespace: "default", name: "greet")
      #expect(greet.at(path: "metadata.labels") == .object(["tier": .string("web")]))
      #expect(greet.at(path: "spec.timeout") == .string("3s"))
      #expect(greet.at(path: "spec.scale.min") == .int(2))
      let node = try await world.resources.get(.node, namespace: nil, name: "worker-1")
      #expect(node.at(path: "spec.unschedulable") == .bool(true))
      let left = try await world.resources.list(.function, namespace: nil, options: ListOptions())
      #expect(left.items.count == 1)
    }
  }

  @Test func `a wrong token, a missing object and a JSON patch are refused in words`() async throws {
    try await World.run { world in
      try await Self.furnish(world)
      let kubectl = try Kubectl(world)
      let missing = try await kubectl.run("get", "function", "nope")
      #expect(missing.errors.contains("functions.apus.dev \"nope\" not found"))
      let patch = try await kubectl.run(
        "patch", "function", "greet", "--type=json", "-p", #"[{"op":"remove","path":"/spec/timeout"}]"#)
      #expect(patch.status == 1)
      #expect(patch.errors.contains("application/merge-patch+json"))
      let wrong = try await kubectl.run("--token=apus-admin.00.11", "get", "pods")
      #expect(wrong.status == 1)
      #expect(wrong.errors.contains("Unauthorized") || wrong.errors.contains("logged in"), "\(wrong.errors)")
    }
  }
}
