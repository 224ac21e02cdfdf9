package import ClusterModel
package import ImageStore

/// Runs pods in isolation: PodSandbox on Linux, or a simulated one.
package protocol SandboxEngine: Sendable {
  /// Removes what an earlier run of this instance left (groups, mounts) and gets ready to start pods.
  func open() async throws
  /// Starts one pod; returns when its command was executed. The order's descriptors stay the caller's.
  func start(_ order: SandboxOrder) async throws -> any RunningPod
  /// What isolation this host gives, in words.
  var isolation: [String] { get }
  /// Kills what still runs and removes every trace.
  func close() async
}

/// A pod that runs.
package protocol RunningPod: Sendable {
  /// SIGTERM to its command.
  func terminate()
  /// SIGKILL to everything in it.
  func kill()
  /// Waits for its end; may be asked once.
  func exit() async -> PodExit
  /// A connected, non-blocking socket to a port on its own loopback; nil while nothing listens there.
  func connect(port: UInt16) async throws -> CInt?
  /// Bytes of memory in use, where the host counts them.
  func memory() -> Int64?
}

/// Everything a pod is started with. Descriptors are -1 where it gets none.
package struct SandboxOrder: Sendable {
  /// The pod's number on this node.
  package var slot: Int
  /// Its host name.
  package var hostname: String
  /// Whose root it gets.
  package var runtime: Runtime
  /// The folder that becomes /function.
  package var code: String
  /// The command.
  package var arguments: [String]
  /// `NAME=value`.
  package var environment: [String]
  /// What it may use.
  package var resources: PodResources
  /// Files below /var/openfaas/secrets, by path.
  package var secrets: [String: [UInt8]]
  /// Its standard output.
  package var stdout: CInt
  /// Its standard error.
  package var stderr: CInt
  /// Descriptor 3.
  package var listener: CInt
  /// Descriptor 4.
  package var frames: CInt
  /// Descriptor 5.
  package var control: CInt
  /// The container image it is made from, in place of a root of `runtime` and of `code`.
  package var image: HeldImage?
  /// Whether the image's root takes writes, which are gone with the pod.
  package var rootWritable = false
}

/// Gives the unpacked code of a package.
package protocol PackageSource: Sendable {
  /// The folder of a package's files, fetched and unpacked when it is not there yet; held until `release`.
  func folder(namespace: String, digest: String) async throws -> String
  /// Says that a pod no longer uses a package.
  func release(digest: String) async
  /// Digests that are unpacked here, newest first, 1,000 at most.
  func digests() async -> [String]
}
