import CLinux
import ClusterTestSupport
import Foundation
import Logging
import PodSandbox
import Synchronization
import Testing

/// Places of this build that tests need.
enum TestPaths {
  /// The folder of the test program, where the built executables are too.
  static let products: String = {
    let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? "."
    return (own as NSString).deletingLastPathComponent
  }()

  static var spawner: String { ProcessInfo.processInfo.environment["APUS_SPAWNER"] ?? "\(products)/apus-spawner" }

  /// Prepared roots stay beside the build, so that a second run of the tests finds them.
  static var roots: String {
    ProcessInfo.processInfo.environment["APUS_TEST_ROOTS"] ?? "\(products)/apus-test-roots"
  }

  static func source(_ name: String) -> String {
    URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../Probes/\(name)").standardized.path
  }
}

/// Hands out slots, so that tests in parallel use different pod users.
enum TestSlots {
  private static let next = Atomic(Int.random(in: 1000..<20_000))
  static func take() -> Int { next.wrappingAdd(1, ordering: .relaxed).newValue }
}

let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

/// A pipe whose reading end is drained by a thread until all writers are gone.
final class Captured: Sendable {
  let writer: CInt
  private struct State {
    var bytes: [UInt8] = []
    var done = false
  }

  private let state = Mutex(State())
  private let closed = Mutex(false)

  init() throws {
    var ends: [CInt] = [-1, -1]
    try #require(apus_pipe(&ends) == 0)
    writer = ends[1]
    let reader = ends[0]
    let thread = Thread { [self] in
      var buffer = [UInt8](repeating: 0, count: 65_536)
      while true {
        let count = read(reader, &buffer, buffer.count)
        if count <= 0 { break }
        state.withLock { $0.bytes.append(contentsOf: buffer[..<count]) }
      }
      close(reader)
      state.withLock { $0.done = true }
    }
    thread.start()
  }

  func closeWriter() {
    let first = closed.withLock { closed in
      defer { closed = true }
      return !closed
    }
    if first { close(writer) }
  }

  var soFar: String { state.withLock { String(decoding: $0.bytes, as: UTF8.self) } }

  /// Everything written until the last writer closed; an issue when someone keeps it open.
  func all() async -> String {
    let done = await eventually(within: .seconds(20)) { state.withLock { $0.done } }
    if !done { Issue.record("the pipe is still open somewhere; so far it said \(soFar)") }
    return soFar
  }
}

/// A spawner with an instance of its own, and a book of how its pods ended.
final class PodHost: Sendable {
  let spawner: Spawner
  let instance: String
  private let exits = Mutex<[UInt64: SandboxExit]>([:])

  private init(spawner: Spawner, instance: String) {
    self.spawner = spawner
    self.instance = instance
  }

  static func newInstance() -> String { String(format: "%08x", UInt32.random(in: 0 ... .max)) }

  static func launch() async throws -> PodHost {
    let instance = newInstance()
    let spawner = try await Spawner.launch(executable: TestPaths.spawner, instance: instance, logger: quiet)
    let host = PodHost(spawner: spawner, instance: instance)
    Task {
      for await exit in spawner.exits { host.exits.withLock { $0[exit.ticket] = exit } }
    }
    return host
  }

  /// How a pod ended; an issue when it does not.
  func exit(of sandbox: Sandbox) async throws -> SandboxExit {
    _ = await eventually(within: .seconds(20)) { exits.withLock { $0[sandbox.ticket] != nil } }
    return try #require(exits.withLock { $0[sandbox.ticket] }, "the pod did not end in time")
  }

  /// Group folders of this instance that exist now.
  var groupFolders: [String] {
    Set(spawner.cgroups.layout.own.values).map { "\($0)/apus/\(instance)" }
      .filter { FileManager.default.fileExists(atPath: $0) }
  }

  struct Finished {
    var exit: SandboxExit
    var out: String
    var err: String
  }

  /// Runs a pod to its end.
  func run(_ arguments: [String], edit: (inout SandboxSpec) -> Void = { _ in }) async throws -> Finished {
    let out = try Captured()
    let err = try Captured()
    defer {
      out.closeWriter()
      err.closeWriter()
    }
    var spec = try await Self.spec(arguments)
    spec.stem.stdout = out.writer
    spec.stem.stderr = err.writer
    edit(&spec)
    let sandbox = try await spawner.start(spec)
    out.closeWriter()
    err.closeWriter()
    let exit = try await exit(of: sandbox)
    return Finished(exit: exit, out: await out.all(), err: await err.all())
  }

  func shell(_ script: String, edit: (inout SandboxSpec) -> Void = { _ in }) async throws -> Finished {
    try await run(["/bin/sh", "-c", script], edit: edit)
  }

  /// A spec on the root with Unix tools.
  static func spec(_ arguments: [String]) async throws -> SandboxSpec {
    SandboxSpec(
      slot: TestSlots.take(), hostname: "pod-under-test", rootPath: try await TestRoots.path(.exec),
      arguments: arguments, environment: ["PATH": "/usr/bin", "HOME": "/tmp", "GREETING": "hello there"])
  }
}

/// Runs a test against a spawner of its own and ends it, and sees that no group stays.
func withPodHost(_ body: (PodHost) async throws -> Void) async throws {
  let host = try await PodHost.launch()
  do {
    try await body(host)
  } catch {
    await host.spawner.shutdown()
    throw error
  }
  await host.spawner.shutdown()
  #expect(host.groupFolders == [])
}

/// The prepared roots, built on first use.
enum TestRoots {
  private static let builder = RootBuilder(folder: TestPaths.roots, logger: quiet)

  static func path(_ kind: RootKind) async throws -> String {
    try await builder.root(for: RootRequest(kind: kind)).path
  }

  /// Python with our runner and the zygote's module.
  static func zygotePath() async throws -> String {
    let runtime = TestPaths.source("../../functions/runtimes/python")
    let names = try FileManager.default.contentsOfDirectory(atPath: runtime).filter { $0.hasSuffix(".py") }.sorted()
    var files = names.map { RuntimeFile(source: "\(runtime)/\($0)", destination: "/runtime/\($0)") }
    let module = "\(TestPaths.products)/apus_zygote.abi3.so"
    try #require(FileManager.default.fileExists(atPath: module), "scripts/build-runner makes it")
    files.append(RuntimeFile(source: module, destination: "/runtime/apus_zygote.abi3.so"))
    return try await builder.root(for: RootRequest(kind: .python, runtimeFiles: files)).path
  }
}

/// Compiles a C source of the tests into a static program.
func compile(_ source: String, to path: String) async throws {
  let compiler = try await Command.run("cc", ["-O1", "-static", source, "-o", path])
  try #require(compiler.isSuccess, "the tests need a C compiler with a static libc: \(compiler.output)")
  try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
}
