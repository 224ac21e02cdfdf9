package import ClusterModel
package import ImageStore

/// Runs pods in isolation: PodSandbox on Linux, or a simulated one.
package protocol SandboxEngine: Sendable {
  /// Removes what an earlier run of this instance left (groups, mounts) and gets ready to start pods.
  func open() async throws
  /// Starts one pod; returns when its command was executed. The order's descriptors stay the caller's.
  func start(_ order: SandboxOrder) async throws -> any RunningPod
  /// Whether it makes pods ahead at all.
  var makesStems: Bool { get }
  /// Makes a pod that waits for its function; nil when it can make none of the kind. The descriptors stay the caller's.
  func makeStem(_ kind: StemKind, at place: StemPlace) async throws -> (any WaitingPod)?
  /// What isolation this host gives, in words.
  var isolation: [String] { get }
  /// What pods may be given to reach.
  var egress: [Egress] { get }
  /// Kills what still runs and removes every trace.
  func close() async
}

extension SandboxEngine {
  /// Nothing but themselves.
  package var egress: [Egress] { [.none] }
  /// No stems: every pod is started from nothing.
  package var makesStems: Bool { false }
  /// None.
  package func makeStem(_ kind: StemKind, at place: StemPlace) async throws -> (any WaitingPod)? { nil }
}

/// A pod that was made ahead.
package protocol WaitingPod: Sendable {
  /// Makes it the order's pod; returns when it was told, or, when it asks for a way out, will be. Should it fail to become that, its end says why. The order's
  /// descriptors are not used: it has its own. May be called once; throws when the pod has ended.
  func become(_ order: SandboxOrder) throws -> any RunningPod
  /// Ends it, unless it became a function's.
  func discard()
  /// Waits for its end, also after it became a function's; may be asked by many.
  func exit() async -> PodExit
}

/// Where a stem is made. Descriptors are -1 where it gets none.
package struct StemPlace: Sendable {
  /// The pod's number on this node.
  package var slot: Int
  /// Its standard output.
  package var stdout: CInt
  /// Its standard error.
  package var stderr: CInt
  /// Descriptor 3.
  package var listener: CInt
  /// Descriptor 4.
  package var frames: CInt
  /// Descriptor 5, on which a waiting interpreter says that it waits.
  package var control: CInt
}

/// A pod that runs.
package protocol RunningPod: Sendable {
  /// When its start reached what only the sandbox knows, as far as it has told.
  func marks() -> StartMarks
  /// SIGTERM to its command.
  func terminate()
  /// SIGKILL to everything in it.
  func kill()
  /// Waits for its end; may be asked by many.
  func exit() async -> PodExit
  /// A connected, non-blocking socket to a port on its own loopback; nil while nothing listens there.
  func connect(port: UInt16) async throws -> CInt?
  /// The same as soon as something listens there, which is expected after so many nanoseconds of its life; throws when the
  /// task is cancelled, and only then.
  func firstConnection(port: UInt16, expected: UInt64?) async throws -> CInt
  /// Bytes of memory in use, where the host counts them.
  func memory() -> Int64?
}

/// Everything a pod is started with. Descriptors are -1 where it gets none.
package struct SandboxOrder: Sendable {
  /// The pod's number on this node.
  package var slot: Int
  /// The function's namespace.
  package var namespace: String
  /// Its host name.
  package var hostname: String
  /// Whose root it gets.
  package var runtime: Runtime
  /// What stems could have become it; nil when it must be started from nothing.
  package var kind: StemKind?
  /// The folder that becomes /function.
  package var code: String
  /// The command.
  package var arguments: [String]
  /// `NAME=value`.
  package var environment: [String]
  /// What it may reach.
  package var egress = Egress.none
  /// Who it is to the functions it calls.
  package var caller: PodCaller?
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
  /// The same folder when it is here already, without waiting for anything; nil when it is not.
  func folderHere(digest: String) -> String?
  /// Says that a pod no longer uses a package.
  func release(digest: String) async
  /// Digests that are unpacked here, newest first, 1,000 at most.
  func digests() async -> [String]
}
