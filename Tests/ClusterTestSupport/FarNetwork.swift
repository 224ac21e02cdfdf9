/// Another machine for tests of egress: a network namespace with a server, joined to this machine by a link. It takes
/// addresses of 198.18.0.0/15, which are for such purposes and in no public network.
package struct FarNetwork: Sendable {
  private let id = String(UInt32.random(in: 0x1000_0000 ... .max), radix: 16)
  private let net = "198.\(Int.random(in: 18...19)).\(Int.random(in: 1...254))"
  /// TCP and UDP of its server.
  package let port = 9100

  private init() {}

  /// Its range, which a node has to open.
  package var range: String { "\(net).0/24" }
  /// The server's address.
  package var address: String { "\(net).2" }
  /// This machine's own address on the link.
  package var near: String { "\(net).1" }
  private var namespace: String { "apus-far-\(id)" }

  /// Runs a body beside such a machine, and takes it away whatever happens.
  package static func with(server: String, _ body: (FarNetwork) async throws -> Void) async throws {
    let far = FarNetwork()
    do {
      try await far.setUp(server)
      try await body(far)
    } catch {
      await far.tearDown()
      throw error
    }
    await far.tearDown()
  }

  private func setUp(_ server: String) async throws {
    let script = """
      set -e
      ip netns add \(namespace)
      ip link add fn\(id) type veth peer name ff\(id) netns \(namespace)
      ip addr add \(near)/24 dev fn\(id); ip link set fn\(id) up
      ip -n \(namespace) addr add \(address)/24 dev ff\(id)
      ip -n \(namespace) link set ff\(id) up; ip -n \(namespace) link set lo up
      ip netns exec \(namespace) python3 \(server) \(address) \(port) </dev/null >/tmp/\(namespace) 2>&1 &
      for i in $(seq 100); do grep -q ready /tmp/\(namespace) && exit 0; sleep 0.05; done
      cat /tmp/\(namespace); exit 1
      """
    let made = try await Command.run("bash", ["-c", script])
    guard made.isSuccess else { throw Failure(description: "no other network: \(made.output)") }
  }

  private func tearDown() async {
    let script = """
      for p in $(ip netns pids \(namespace)); do kill -9 $p; done
      ip netns del \(namespace); ip link del fn\(id); rm -f /tmp/\(namespace)
      """
    _ = try? await Command.run("bash", ["-c", script])
  }

  private struct Failure: Error, CustomStringConvertible {
    let description: String
  }
}
