import ClusterTestSupport
import Foundation
import Testing

/// A cluster of a user who is not root: the same pods, in a user namespace.
@Suite("A user who is not root")
struct UserWorkerTests {
  private static let asUser = TestCluster.root + "/Tests/Probes/as-user"
  /// The binary under test as that user sees it.
  private static let apus = TestCluster.apus.replacing(TestCluster.root, with: "/mnt")

  /// Runs a script as the user, with a cluster of its own that goes down whatever the script does.
  private static func run(_ script: String, flags: [String] = []) async throws -> Shell.Result {
    let folder = try TemporaryFolder("apus-e2e-user")
    let whole = """
      set -euo pipefail
      apus() { \(Self.apus) "$@"; }
      trap 'apus down >/dev/null; ls ~/.local/state/apus/run' EXIT
      \(script)
      """
    return try await Shell.run(asUser, [folder.path] + flags + ["bash", "-c", whole])
  }

  private static let up = "apus up --workers 1 --gateway-port 0 --api-port 0 --admin-port 0 >/dev/null"

  /// Tells what it is, and eats memory when asked to.
  private static let handler = """
    import os

    def handle(event, context):
        if event.body == b'eat':
            return str(len(b'x' * (512 << 20)))
        with open('/proc/self/uid_map') as table:
            return 'user %d of %s, %s' % (os.getuid(), table.read().split(), os.path.exists('/proc/1/root/etc/shadow'))
    """

  private static func deploy(memory: String = "128Mi") -> String {
    """
    mkdir -p tell && cat >tell/handler.py <<'end'
    \(handler)
    end
    cat >tell/function.yaml <<'end'
    \(TestCluster.manifest("tell", "runtime: python\n  handler: handler.py\n  resources: {memory: \(memory)}"))
    end
    apus deploy tell
    """
  }

  @Test(
    "deploys and calls as root does, with pods of other users; what is not guaranteed is said", .timeLimit(.minutes(4)))
  func calls() async throws {
    let said = try await Self.run(
      """
      id -u
      apus doctor | grep -A 1 -E 'privileges|cgroups|images' || true
      apus up --require-isolation full || echo "refused with $?"
      \(Self.up)
      \(Self.deploy())
      apus invoke tell -d hello; echo
      apus new hey --runtime node >/dev/null && apus deploy hey && apus invoke hey -d Ada; echo
      apus describe node worker-1 | grep -E 'privileges|cgroups|images'
      """)
    #expect(said.status == 0, "\(said.all)")
    #expect(said.output.hasPrefix("4321\n"))
    #expect(said.output.contains("privileges       user 4321, whose workers are root of a user namespace"))
    #expect(said.output.contains("refused with 1") && said.all.contains("does not isolate pods fully: cgroups"))
    // The kernel shows the map to the pod: root here is the user, pods are the user's subordinate ids.
    #expect(said.output.contains("of ['0', '4321', '1', '362800000', '100000', '65536'], False"), "\(said.all)")
    #expect(said.output.contains("Hello, Ada!"), "\(said.all)")
    #expect(said.output.contains("privileges: root of a user namespace of user 4321"), "\(said.all)")
    #expect(said.output.contains("images: functions of runtime image cannot run"), "\(said.all)")
    // No pod's socket is left; the locks of slots and ports stay.
    #expect(said.output.hasSuffix("\nports.json\nslots\nsupervisor.lock\n"), "\(said.all)")
  }

  @Test("holds pods to their limits by the control groups that were delegated to it", .timeLimit(.minutes(4)))
  func delegated() async throws {
    let said = try await Self.run(
      """
      \(Self.up)
      \(Self.deploy(memory: "96Mi"))
      apus invoke tell -d hello; echo
      apus invoke tell -d eat || echo "ended with $?"
      apus describe node worker-1 | grep cgroups
      until apus get events | grep -i memory; do :; done
      """, flags: ["--delegate"])
    #expect(said.status == 0, "\(said.all)")
    #expect(said.output.contains("cgroups: v1, verified limits: memory"), "\(said.all)")
    #expect(said.output.contains("ended with") && said.output.contains("memory limit 96Mi reached"), "\(said.all)")
  }

  @Test("no hostile probe finds a door open in such pods either, and they live as others do", .timeLimit(.minutes(10)))
  func probes() async throws {
    let folder = try TemporaryFolder("apus-e2e-user")
    let test = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      .replacing(TestCluster.root, with: "/mnt")
    let script = """
      exec unshare --user --mount --map-root-user --map-users=100000,362800000,65536 --map-groups=100000,362800000,65536 \
        env SWIFT_BACKTRACE=enable=no APUS_TEST_ROOTS="$HOME/roots" \
        \(test) --testing-library swift-testing --filter 'HostileProbeTests|PodLifeTests|StemTests|FirstConnectionTests'
      """
    // A whole suite of tests, beside others of this one.
    let said = try await Shell.run(Self.asUser, [folder.path, "bash", "-c", script], limit: 500)
    #expect(
      said.status == 0 && said.all.contains("every probe is blocked in a pod\" with 4 test cases passed"), "\(said.all)"
    )
  }
}
