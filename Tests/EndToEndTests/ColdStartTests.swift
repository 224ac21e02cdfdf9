import ClusterTestSupport
import Foundation
import Testing

/// What is told of a start: in the call's record, in `describe pod`, in the gateway's metrics.
@Suite("Cold starts")
struct ColdStartTests {
  private static let phases = ["placed", "prepared", "sandboxed", "started", "ready"]

  /// A server of `$PORT`, whose readiness nobody but its port tells.
  private static let server = """
    import http.server, os
    class Answer(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")
    http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Answer).serve_forever()
    """

  @Test(
    "each phase of every start is measured, of pods made ahead and of calls that were sent early",
    .timeLimit(.minutes(3)))
  func phases() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      let echo = try await cluster.deployPython(
        "echo", "def handle(event, context):\n    return 'ok'\n")
      try #require(echo.status == 0, "\(echo.all)")
      try cluster.write("port/server.py", Self.server)
      try cluster.write(
        "port/function.yaml",
        TestCluster.manifest(
          "port", "runtime: binary\n  command: [/usr/bin/python3, server.py]\n"))
      let port = try await cluster.apus("deploy", "port")
      try #require(port.status == 0, "\(port.all)")
      for function in ["echo", "port"] {
        // The first start teaches the gateway how long one takes; later calls go to pods that are not ready yet.
        for number in 0..<3 {
          // One that ended meanwhile is an error of no interest: the record tells whether the call was cold.
          _ = try await cluster.bash(
            "apus get pods -o json | jq -r '.items[].metadata.name' | xargs -r -n1 apus delete pod")
          let call = "\(function)-\(number)"
          let answer = try await cluster.bash("curl -s -H 'X-Call-Id: \(call)' \(cluster.url(function))")
          try #require(answer.output == "ok", "\(answer.all)")
          try await expectPhases(of: call, cluster)
        }
        for phase in ["queued", "first_byte"] + Self.phases {
          let counted = try await cluster.metric(
            "apus_gateway_cold_start_seconds_count", "function=\"default/\(function)\",phase=\"\(phase)\"")
          #expect(counted == 3, "\(function) \(phase)")
        }
      }
    }
  }

  private func expectPhases(of call: String, _ cluster: TestCluster) async throws {
    @Sendable func written() async throws -> String {
      try await cluster.apus("logs", "stream:access AND call:\(call)", "-o", "json").output
    }
    let found = try await eventually(within: .seconds(10)) { try await !written().isEmpty }
    try #require(found, "no record of \(call)")
    let record = try await written()
    let object = try #require(try JSONSerialization.jsonObject(with: Data(record.utf8)) as? [String: Any])
    let fields = try #require(object["fields"] as? [String: Any])
    let pod = try #require(object["pod"] as? String)
    var sum = 0.0
    for phase in Self.phases {
      let time = (fields["cold_\(phase)_ms"] as? NSNumber)?.doubleValue
      #expect(time.map { $0 >= 0 } == true, "\(call): \(phase) in \(record)")
      sum += time ?? 0
    }
    #expect(sum > 0, "\(record)")
    for name in ["queue_ms", "first_byte_ms", "cold_total_ms"] {
      #expect(fields[name] is NSNumber, "\(name) in \(record)")
    }
    let described = try await cluster.apus("describe", "pod", pod).output
    for phase in Self.phases { #expect(described.contains("\(phase) "), "\(described)") }
    #expect(described.contains("to the first byte") && described.contains("(call \(call))"), "\(described)")
  }
}
