import CLinux
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
  static var roots: String { "\(products)/apus-test-roots" }

  static func source(_ name: String) -> String {
    URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../Probes/\(name)").standardized.path
  }
}

/// Hands out slots, so that tests in parallel use different pod users.
enum TestSlots {
  private static let next = Atomic(Int.random(in: 1000..<40_000))
  static func take() -> Int { next.wrappingAdd(1, ordering: .relaxed).newValue }
}

let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

/// A pipe whose reading end is drained by a thread until all writers are gone.
final class Captured: Sendable {
  let writer: CInt
  private let text = Mutex<(bytes: [UInt8], done: Bool, waiter: CheckedContinuation<Void, Never>?)>(([], false, nil))
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
        text.withLock { $0.bytes.append(contentsOf: buffer[..<count]) }
      }
      close(reader)
      let waiter = text.withLock { state in
        state.done = true
        defer { state.waiter = nil }
        return state.waiter
      }
      waiter?.resume()
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

  var soFar: String { text.withLock { String(decoding: $0.bytes, as: UTF8.self) } }

  /// Everything written until the last writer closed.
  func all() async -> String {
    await withCheckedContinuation { continuation in
      let done = text.withLock { state in
        if !state.done { state.waiter = continuation }
        return state.done
      }
      if done { continuation.resume() }
    }
    return soFar
  }
}

/// A spawner with an instance of its own, and a book of how its pods ended.
final class PodHost: Sendable {
  let spawner: Spawner
  let instance: String
  private struct Book {
    var exits: [UInt64: SandboxExit] = [:]
    var waiters: [UInt64: CheckedContinuation<SandboxExit?, Never>] = [:]
    var over = false
  }

  private let book = Mutex(Book())

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
      for await exit in spawner.exits { host.note(exit) }
      host.noteEnd()
    }
    return host
  }

  private func note(_ exit: SandboxExit) {
    let waiter = book.withLock { book in
      book.exits[exit.ticket] = exit
      return book.waiters.removeValue(forKey: exit.ticket)
    }
    waiter?.resume(returning: exit)
  }

  private func noteEnd() {
    let waiters = book.withLock { book in
      book.over = true
      defer { book.waiters = [:] }
      return book.waiters.values
    }
    for waiter in waiters { waiter.resume(returning: nil) }
  }

  func exit(of sandbox: Sandbox) async throws -> SandboxExit {
    let exit = await withCheckedContinuation { continuation in
      let (known, over) = book.withLock { book in
        if book.exits[sandbox.ticket] == nil, !book.over { book.waiters[sandbox.ticket] = continuation }
        return (book.exits[sandbox.ticket], book.over)
      }
      if known != nil || over { continuation.resume(returning: known) }
    }
    return try #require(exit)
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
    spec.stdout = out.writer
    spec.stderr = err.writer
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
}

/// Compiles a C source of the tests into a static program.
func compile(_ source: String, to path: String) throws {
  let process = Process()
  process.executableURL = URL(filePath: "/usr/bin/env")
  process.arguments = ["cc", "-O1", "-static", source, "-o", path]
  try process.run()
  process.waitUntilExit()
  try #require(process.terminationStatus == 0, "cc failed; the tests need a C compiler with a static libc")
  try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path)
}
