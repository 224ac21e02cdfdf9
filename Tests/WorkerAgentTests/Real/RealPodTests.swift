import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Foundation
import Testing

@testable import WorkerAgent

/// Real pods: these need root and a built apus-spawner.
@Suite("Real pods", .enabled(if: RealWorker.isPossible), .serialized)
struct RealPodTests {
  static let hello = """
    import os
    def handle(event, context):
        print("hello from", event.path)
        if event.path == "/die":
            os._exit(3)
        if event.path == "/eat":
            x = bytearray(400 << 20)
            return str(len(x))
        if event.path == "/secret":
            return open("/var/openfaas/secrets/token").read()
        return {"path": event.path, "env": os.environ["GREETING"], "uid": os.getuid()}
    """
  static let spec = JSONValue.object([
    "env": .object(["GREETING": .string("hi")]), "resources": .object(["memory": .string("64Mi")]),
  ])

  @Test func `a python pod answers over its socket and its print is logged under the call`() async throws {
    let worker = try RealWorker(secrets: SimulatedSecrets(all: ["token": ["value": Array("s3cret".utf8)]]))
    var spec = Self.spec
    spec["secrets"] = .array([.string("token")])
    let uid = try await worker.start(["handler.py": Self.hello], spec: spec)
    try #require(await worker.becomes(.ready, uid))
    let answer = try await worker.request(uid, "/a")
    #expect(answer.hasPrefix("HTTP/1.1 200"))
    #expect(answer.contains(#""path": "/a""#) && answer.contains(#""env": "hi""#), "\(answer)")
    #expect(try await worker.request(uid, "/secret").hasSuffix("s3cret"))
    #expect(await eventually { worker.logs.records().contains { $0.msg == "hello from /a" && $0.call == "call-1" } })
    try await worker.leave()
  }

  @Test func `a crash restarts the pod, which answers again`() async throws {
    let worker = try RealWorker()
    let uid = try await worker.start(["handler.py": Self.hello], spec: Self.spec)
    try #require(await worker.becomes(.ready, uid))
    _ = try await worker.request(uid, "/die")
    #expect(await eventually { worker.server.latest(uid)?.detail.restarts == 1 })
    try #require(await worker.becomes(.ready, uid))
    #expect(try await worker.request(uid, "/b").hasPrefix("HTTP/1.1 200"))
    #expect(worker.server.events.contains { $0.reason == "Crashed" && $0.message.contains("exited with code 3") })
    try await worker.leave()
  }

  @Test func `a pod that eats memory is OOMKilled and says so`() async throws {
    let worker = try RealWorker()
    let uid = try await worker.start(["handler.py": Self.hello], spec: Self.spec)
    try #require(await worker.becomes(.ready, uid))
    _ = try await worker.request(uid, "/eat")
    #expect(await eventually { worker.server.events.contains { $0.reason == "OOMKilled" } })
    let event = worker.server.events.first { $0.reason == "OOMKilled" }
    #expect(event?.message.hasPrefix("memory limit 64Mi reached") == true)
    try await worker.leave()
  }

  @Test func `a handler that cannot be imported fails the start with its traceback`() async throws {
    let worker = try RealWorker()
    let uid = try await worker.start(["handler.py": "import nothing_like_this"])
    #expect(await worker.becomes(.gone, uid))
    let detail = try #require(worker.server.latest(uid)?.detail)
    #expect(detail.failed == true && detail.everReady == false)
    #expect(detail.message?.contains("nothing_like_this") == true, "\(detail.message ?? "")")
    try await worker.leave()
  }

  @Test func `a program that serves its port is reached over its socket and through the entry`() async throws {
    let worker = try RealWorker()
    let server = """
      import http.server, os
      class H(http.server.BaseHTTPRequestHandler):
          protocol_version = "HTTP/1.1"
          def do_POST(self):
              body = self.rfile.read(int(self.headers["Content-Length"]))
              print('{"level":"warn","msg":"got","call":"%s"}' % self.headers["X-Call-Id"], flush=True)
              self.send_response(200)
              self.send_header("Content-Length", str(len(body)))
              self.end_headers()
              self.wfile.write(body[::-1])
          def log_message(self, *a): pass
      http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
      """
    let uid = try await worker.start(
      ["server.py": server],
      spec: .object([
        "runtime": .string("binary"), "handler": .null,
        "command": .array([.string("/usr/bin/python3"), .string("server.py")]),
      ]))
    try #require(await worker.becomes(.ready, uid))
    #expect(try await worker.request(uid, "/", body: "stressed").hasSuffix("desserts"))
    #expect(await eventually { worker.logs.records().contains { $0.call == "call-1" && $0.level == .warn } })
    let address = try #require(worker.server.latest(uid)?.detail.endpoint?.worker)
    let port = try #require(address.split(separator: ":").last.flatMap { Int($0) })
    let connection = try await TestConnection(port: port)
    try await connection.send("CONNECT \(uid)\n")
    #expect(await eventually { connection.text == "OK\n" })
    try await connection.send(RealWorker.head("/", "live"))
    #expect(await eventually { connection.text.hasSuffix("evil") })
    await connection.close()
    worker.server.send(.stop(uid: uid, graceMilliseconds: 200))
    #expect(await worker.becomes(.gone, uid))
    try await worker.leave()
  }

  @Test func `drain lets the running call finish, stop ends the pod`() async throws {
    let worker = try RealWorker()
    let slow = """
      import time
      def handle(event, context):
          print("begun")
          time.sleep(0.4)
          return "done"
      """
    let uid = try await worker.start(["handler.py": slow])
    try #require(await worker.becomes(.ready, uid))
    async let answer = worker.request(uid)
    #expect(await eventually { worker.logs.records().contains { $0.msg == "begun" } })
    worker.server.send(.drain(uid: uid))
    #expect(await worker.becomes(.draining, uid))
    worker.server.send(.stop(uid: uid, graceMilliseconds: 5000))
    #expect(try await answer.hasSuffix("done"))
    #expect(await worker.becomes(.gone, uid))
    #expect(worker.server.latest(uid)?.detail.failed == false)
    try await worker.leave()
  }

  @Test func `a node handler and a native server of the samples answer`() async throws {
    let worker = try RealWorker()
    let node = try await worker.start(
      ["handler.mjs": "export function handle(event) { console.log('in node'); return 'node says ' + event.path }"],
      spec: .object(["runtime": .string("node"), "handler": .string("handler.mjs")]))
    try #require(await worker.becomes(.ready, node))
    #expect(try await worker.request(node, "/x").hasSuffix("node says /x"))
    #expect(await eventually { worker.logs.records().contains { $0.msg == "in node" && $0.call == "call-1" } })
    let sample = "\(RealWorker.repository)/functions/samples/hello-binary"
    if FileManager.default.fileExists(atPath: "\(sample)/server") {
      let native = try await worker.start(
        folder: sample,
        spec: .object([
          "runtime": .string("binary"), "handler": .null, "command": .array([.string("./server")]),
          "concurrency": .int(16),
        ]))
      try #require(await worker.becomes(.ready, native))
      #expect(try await worker.request(native, "/").hasPrefix("HTTP/1.1 200"))
    }
    try await worker.leave()
  }

  @Test func `a readiness probe holds a pod back, a liveness probe restarts it`() async throws {
    let worker = try RealWorker()
    let handler = """
      import os
      asked = []
      def handle(event, context):
          from apus import Response
          asked.append(event.path)
          if event.path == "/ready":
              return Response("", status=200 if len(asked) > 2 else 503)
          if event.path == "/live":
              return Response("", status=500 if "/hurt" in asked else 200)
          return str(os.getpid())
      """
    let probe: (String) -> JSONValue = {
      .object(["path": .string($0), "period": .string("100ms"), "timeout": .string("1s"), "failures": .int(2)])
    }
    let uid = try await worker.start(
      ["handler.py": handler],
      spec: .object(["probes": .object(["readiness": probe("/ready"), "liveness": probe("/live")])]))
    try #require(await worker.becomes(.ready, uid))
    #expect(worker.server.latest(uid)?.detail.startup?.ready ?? 0 >= 200)
    _ = try await worker.request(uid, "/hurt")
    #expect(await eventually { worker.server.latest(uid)?.detail.restarts == 1 })
    #expect(worker.server.events.contains { $0.reason == "Unhealthy" && $0.message.contains("status 500") })
    try #require(await worker.becomes(.ready, uid))
    try await worker.leave()
  }

  @Test func `a pod that prints 30 MB holds up no other, and what was dropped is told`() async throws {
    let worker = try RealWorker()
    let noisy = """
      import sys
      def handle(event, context):
          for i in range(300):
              sys.__stdout__.write((("x" * 99) + "\\n") * 1000)
          return "done"
      """
    let loud = try await worker.start(["handler.py": noisy])
    let quiet = try await worker.start(["handler.py": Self.hello], spec: Self.spec)
    try #require(await worker.becomes(.ready, loud))
    try #require(await worker.becomes(.ready, quiet))
    async let done = worker.request(loud)
    #expect(try await worker.request(quiet, "/calm").hasPrefix("HTTP/1.1 200"))
    #expect(try await done.hasSuffix("done"))
    #expect(await eventually { worker.logs.records().contains { $0.msg == "hello from /calm" } })
    worker.server.send(.stop(uid: loud, graceMilliseconds: 1000))
    #expect(await worker.becomes(.gone, loud))
    #expect(
      await eventually {
        let records = worker.logs.records()
        let dropped = records.compactMap { $0.fields["dropped"]?.intValue }.reduce(0, +)
        return dropped + Int64(records.filter { $0.msg.hasPrefix("xxx") }.count) == 300_000
      })
    try await worker.leave()
  }

  @Test func `a killed spawner takes its pods along and they come back`() async throws {
    let worker = try RealWorker()
    let uid = try await worker.start(["handler.py": Self.hello], spec: Self.spec)
    try #require(await worker.becomes(.ready, uid))
    kill(try #require(worker.spawner(ofSlot: 0)), SIGKILL)
    #expect(await eventually { worker.server.latest(uid)?.detail.restarts ?? 0 >= 1 })
    try #require(await worker.becomes(.ready, uid))
    #expect(try await worker.request(uid, "/again").hasPrefix("HTTP/1.1 200"))
    try await worker.leave()
  }
}
