import ClusterTestSupport
import Foundation
import Testing

/// HTTPS towards callers.
@Suite("HTTPS")
struct TLSTests {
  private static let echo = "def handle(event, context):\n    return event.text + event.headers['x-forwarded-proto']\n"

  @Test("with the cluster's own authority the CLI calls, and so does whoever trusts it", .timeLimit(.minutes(5)))
  func ownAuthority() async throws {
    try await TestCluster.with(workers: 1, flags: ["--tls"]) { cluster in
      #expect(cluster.gateway.hasPrefix("https://"))
      let made = try await cluster.deployPython("echo", Self.echo)
      try #require(made.status == 0, "\(made.all)")
      #expect(try await cluster.apus("invoke", "echo", "-d", "a").output == "ahttps")
      let trusted = try await cluster.bash(
        """
        sed -n 's/.*certificate-authority-data: //p' $APUS_KUBECONFIG | base64 -d > ca.crt
        head -c 3000000 /dev/zero | tr '\\0' x > big
        curl -s --cacert ca.crt --data-binary @big \(cluster.url("echo")) | wc -c
        """)
      #expect(trusted.output.trimmingCharacters(in: .whitespacesAndNewlines) == "3000005", "\(trusted.all)")
      #expect(try await cluster.bash("curl -s \(cluster.url("echo"))").status == 60, "without the authority: no")
      let plain = cluster.url("echo").replacing("https://", with: "http://")
      #expect(try await cluster.bash("curl -s -d a \(plain)").status != 0, "plain HTTP on the same port: no")
    }
  }

  @Test("changed certificate files are used without a restart", .timeLimit(.minutes(5)))
  func reload() async throws {
    let folder = try TemporaryFolder("apus-tls")
    func certificate(_ name: String) async throws {
      let made = try await Shell.bash(
        """
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=\(name) \
          -addext subjectAltName=IP:127.0.0.1 -keyout new.key -out new.crt 2>&1 && mv new.key key.pem && mv new.crt cert.pem
        """, in: folder.path)
      try #require(made.status == 0, "\(made.all)")
    }
    try await certificate("first")
    let flags = ["--tls-certificate", folder.path + "/cert.pem", "--tls-key", folder.path + "/key.pem"]
    try await TestCluster.with(workers: 0, flags: flags) { cluster in
      let shown = "curl -skv \(cluster.gateway)/healthz 2>&1 | sed -n 's/.*subject: CN=//p'"
      #expect(try await cluster.bash(shown).output == "first\n")
      try await certificate("second")
      let changed = try await eventually(within: .seconds(20)) {
        try await cluster.bash(shown).output == "second\n"
      }
      #expect(changed)
      try Data("no certificate".utf8).write(to: folder.url.appending(path: "cert.pem"))
      let told = try await eventually(within: .seconds(20)) {
        try await cluster.bash("grep -c 'stays' \(cluster.data)/output/server.log").output == "1\n"
      }
      #expect(told)
      #expect(try await cluster.bash(shown).output == "second\n", "what cannot be used changes nothing")
    }
  }
}
