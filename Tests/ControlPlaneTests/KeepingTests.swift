import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import StateStore
import Testing

@testable import ControlPlane

/// What is kept, taken off, and refused: secrets' keys, figures, packages, foreign log lines, unreadable status.
@Suite("Keeping and refusing") struct KeepingTests {
  private func secret(_ cluster: TestCluster, _ patch: JSONValue) async throws -> [String: JSONValue] {
    let shown = try await cluster.plane.resources.patch(
      .secret, namespace: "default", name: "db", subresource: nil, patch: patch)
    return shown["lengths"]?.objectValue ?? [:]
  }

  @Test func `a key of a secret goes by null, and its length cannot be written`() async throws {
    let cluster = try await TestCluster()
    let object = JSONValue.object([
      "apiVersion": .string("v1"), "kind": .string("Secret"), "metadata": .object(["name": .string("db")]),
      "stringData": .object(["user": .string("ada"), "password": .string("hidden")]),
    ])
    _ = try await cluster.plane.resources.create(.secret, namespace: "default", object: object)
    let less = try await secret(cluster, .object(["data": .object(["user": .null])]))
    #expect(Set(less.keys) == ["password"])
    let more = try await secret(cluster, .object(["stringData": .object(["host": .string("h")])]))
    #expect(more == ["password": .int(6), "host": .int(1)])
    let refused = await #expect(throws: APIStatus.self) {
      _ = try await secret(cluster, .object(["lengths": .object(["host": .int(9)])]))
    }
    #expect(refused?.code == 422)
    var whole = try await cluster.plane.resources.get(.secret, namespace: "default", name: "db")
    whole["lengths"] = nil
    whole["data"] = .object(["only": .string("eA==")])
    let replaced = try await cluster.plane.resources.update(
      .secret, namespace: "default", name: "db", subresource: nil, object: whole)
    #expect(replaced["lengths"] == .object(["only": .int(1)]))
  }

  @Test func `a status that could not be read back is refused, and the function goes on`() async throws {
    let cluster = try await TestCluster()
    try await cluster.deploy("greet", code: "one")
    let error = await #expect(throws: APIStatus.self) {
      _ = try await cluster.plane.resources.patch(
        .function, namespace: "default", name: "greet", subresource: .status,
        patch: .object(["status": .object(["conditions": .string("x")])]))
    }
    #expect(error?.code == 422)
    #expect(await eventually { await cluster.plane.orchestrator.functions["default/greet"] != nil })
  }

  @Test func `calls are counted on after a restart of the server, and not after a deletion`() async throws {
    let durable = MemoryStore(boot: 0)
    let folder = try TemporaryFolder()
    let before = try await TestCluster(durable: durable, boot: 1, folder: folder)
    try await before.deploy("greet", code: "one")
    var usage = FunctionUsage(namespace: "default", function: "greet")
    usage.calls = 7
    usage.coldMilliseconds = [12]
    await before.plane.usage.report([usage], gateway: "g")
    await before.plane.collect(at: before.clock.now)
    let after = try await TestCluster(durable: durable, boot: 2, folder: folder)
    await after.plane.usage.report([usage], gateway: "g")
    let shown = try await after.plane.resources.get(.function, namespace: "default", name: "greet")
    #expect(shown.at(path: "status.figures.calls")?.intValue == 14, "\(shown)")
    _ = try await after.plane.resources.delete(.function, namespace: "default", name: "greet", uid: nil)
    #expect(await eventually { await after.plane.orchestrator.functions.isEmpty })
    await after.plane.collect(at: after.clock.now)
    let left = try await durable.list(prefix: UsageBoard.prefix, after: nil, limit: 10, at: nil)
    #expect(left.items.isEmpty)
  }

  @Test func `a token whose time is over is forgotten, one without an end stays`() async throws {
    let cluster = try await TestCluster()
    let clock = cluster.clock
    let tokens = TokenRegistry(store: cluster.durable, authorityHash: "h") { clock.now }
    _ = try await tokens.invoke(InvokeScope(namespace: "default"), life: .seconds(30))
    _ = try await tokens.invoke(InvokeScope(namespace: "staging"), life: nil)
    await cluster.plane.collect(at: clock.now.advanced(milliseconds: 29_999))
    #expect(try await tokens.all().count == 2)
    await cluster.plane.collect(at: clock.now.advanced(milliseconds: 30_000))
    #expect(try await tokens.all().map(\.scope) == ["staging/*"])
  }

  @Test func `a package goes an hour after it was needed last, not after it was made`() async throws {
    let cluster = try await TestCluster()
    let digest = try await cluster.package("one")
    let start = Timestamp.now()
    await cluster.plane.collect(at: start.advanced(milliseconds: 3_599_000))
    #expect(try await cluster.plane.artifacts.has(namespace: "default", digest: digest))
    try await cluster.deploy("greet", code: "one")
    #expect(await eventually { await cluster.plane.orchestrator.referencedArtifacts().contains(digest) })
    let late = start.advanced(milliseconds: 10 * 3_600_000)
    await cluster.plane.collect(at: late)
    _ = try await cluster.plane.resources.delete(.function, namespace: "default", name: "greet", uid: nil)
    #expect(await eventually { await cluster.plane.orchestrator.functions.isEmpty })
    await cluster.plane.collect(at: late.advanced(milliseconds: 3_500_000))
    #expect(cluster.plane.artifacts.stored().map(\.digest) == [digest])
    await cluster.plane.collect(at: late.advanced(milliseconds: 3_700_000))
    #expect(cluster.plane.artifacts.stored().isEmpty)
  }

  @Test func `a worker writes lines of its own pods only`() async throws {
    let cluster = try await TestCluster()
    let worker = try await TestWorker("w1", cluster)
    try await cluster.deploy("greet", code: "one")
    #expect(await eventually { await cluster.pods("greet", .ready).count == 1 })
    let pod = try #require(await cluster.pods("greet", .ready).first).name
    func line(_ pod: String, node: String = "w1", stream: LogStream = .stdout, revision: String = "greet-00001") throws
      -> [UInt8]
    {
      var record = LogRecord(
        time: .now(), namespace: "default", stream: stream, level: .info, msg: "hello", fields: [:])
      (record.function, record.revision, record.pod, record.node) = ("greet", revision, pod, node)
      return Array(try JSONCoding.encoder.encode(record))
    }
    let good = [try line(pod), try line("greet-00001-gone5"), try line("", stream: .platform)]
    #expect(await cluster.plane.stamp.checked(good, of: "w1") == good)
    let first = String(decoding: try line(pod), as: UTF8.self).replacing(
      #""fields":{}"#, with: #""fields":{"v":1e999}"#)
    #expect(await cluster.plane.stamp.checked([Array(first.utf8)], of: "w1") == [Array(first.utf8)])
    let bad = [
      try line(pod, node: "w2"), try line(pod, stream: .access), try line(pod, stream: .event),
      try line("other-00001-abcde"), try line(pod, revision: "greet-00002"), Array("{}".utf8), Array("no".utf8),
    ]
    #expect(await cluster.plane.stamp.checked(bad, of: "w1") == bad.map { _ in RecordStamp.refused })
    let foreign = [try line(pod, node: "w2")]
    #expect(await cluster.plane.stamp.checked(foreign, of: "w2") == [RecordStamp.refused])
    // As the worker's writer puts it, which is remembered: for this node, not for another that says the same.
    let written = Array(
      """
      {"time":"2026-11-21T02:10:04.123456789Z","namespace":"default","function":"greet","revision":"greet-00001",\
      "pod":"\(pod)","node":"w1","stream":"stdout","level":"info","call":"","msg":"x","fields":{}}
      """.utf8)
    #expect(await cluster.plane.stamp.checked([written, written], of: "w1") == [written, written])
    #expect(await cluster.plane.stamp.checked([written], of: "w2") == [RecordStamp.refused])
    // What is behind a head that is known must not say otherwise; a number that no Double holds is as good as others.
    func tail(_ rest: String) -> [UInt8] {
      Array(String(decoding: written, as: UTF8.self).replacing(#""fields":{}}"#, with: rest).utf8)
    }
    let fine = [
      tail(#""fields":{"v":1e999,"namespace":"own","s":"a\"}\\","l":[1,{"pod":"}"}]}}"#),
      tail(#""fields":{},"x":{},"y":1}"#),
    ]
    #expect(await cluster.plane.stamp.checked(fine, of: "w1") == fine)
    let twice = [
      tail(#""fields":{},"namespace":"victim"}"#), tail(#""fields":{},"pod":null,"x":1}"#),
      tail(#""fields":{"a":"\\"},"node":"w2"}"#), tail(#""fields":{},"name\u0073pace":"victim"}"#),
      tail(#""fields":{}} {"#), tail(#""fields":{}"#),
    ]
    #expect(await cluster.plane.stamp.checked(twice, of: "w1") == twice.map { _ in RecordStamp.refused })
    // The time's place does not hide that the head is inside of something.
    let nested = Array(
      String(decoding: written, as: UTF8.self)
        .replacing("2026-11-21T02:10:04.123456789Z\"", with: #"2026-11-21T02:10:04Z","x":{"":1"#)
        .replacing(#","msg":"x","fields":{}}"#, with: #"},"namespace":"victim","msg":"x"}"#).utf8)
    #expect(nested[40..<54].elementsEqual(#","namespace":""#.utf8))
    #expect(await cluster.plane.stamp.checked([nested], of: "w1") == [RecordStamp.refused])
    _ = worker
  }
}
