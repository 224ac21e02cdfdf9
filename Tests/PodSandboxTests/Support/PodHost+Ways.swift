import ClusterTestSupport
import Foundation
import PodSandbox
import Testing

/// The ways a pod comes to its command.
enum PodWay: String, CaseIterable, Sendable {
  /// Started from nothing.
  case start
  /// A stem that executes the command when it is bound.
  case stem
  /// A stem with a command that waits.
  case warm
  /// A fork of a Python zygote.
  case zygote
}

/// A pod that was started, and what it says.
struct StartedPod {
  let sandbox: Sandbox
  let out: Captured
  let err: Captured
}

extension Sandbox {
  /// The number of the pod's process 1 on the host.
  var process: pid_t {
    get throws {
      let about = try String(contentsOfFile: "/proc/self/fdinfo/\(pidfd)", encoding: .utf8)
      let line = try #require(about.split(separator: "\n").first { $0.hasPrefix("Pid:") })
      return try #require(line.split(separator: "\t").last.flatMap { pid_t($0) })
    }
  }
}

extension PodHost {
  /// Starts a command in one of the ways a pod comes to it; `code` becomes /function. A stem is made with the limits of the
  /// platform, whatever those of the pod. In a zygote's pod the command is executed by the function, from a zygote of its
  /// own unless one is given.
  func begin(
    _ arguments: [String], way: PodWay, code: String, zygote given: Zygote? = nil,
    edit: (inout SandboxSpec) -> Void = { _ in }
  ) async throws -> StartedPod {
    let (out, err, control) = (try Captured(), try Captured(), try Captured())
    defer { for pipe in [out, err, control] { pipe.closeWriter() } }
    let listener = try ListeningSocket()
    defer { withExtendedLifetime(listener) {} }
    var spec = try await Self.spec(arguments)
    spec.bind.codePath = code
    spec.stem.stdout = out.writer
    spec.stem.stderr = err.writer
    edit(&spec)
    if way == .start { return StartedPod(sandbox: try await spawner.start(spec), out: out, err: err) }
    spec.stem.limits = SandboxLimits()
    if way != .stem { spec.stem.control = control.writer }
    switch way {
    case .start, .stem: break
    case .warm:
      // Says that it waits, reads what it is, and then is that.
      let wait = "printf w >&5; head -c 4 <&6 >/dev/null; cat <&6 >/dev/null; exec \"$@\" 5>&- 6<&-"
      spec.stem.warmArguments = ["/bin/sh", "-c", wait, "warm"] + arguments
      spec.stem.warmEnvironment = ["PATH": "/usr/bin"]
    case .zygote:
      if let given { spec.stem.origin = .zygote(given) } else { spec.stem.origin = .zygote(try await zygote()) }
      spec.stem.listener = listener.fd
      try Self.handler(arguments).write(toFile: "\(code)/handler.py", atomically: true, encoding: .utf8)
    }
    let stem = try await spawner.prepare(spec.stem)
    for pipe in [out, err, control] { pipe.closeWriter() }
    if way != .stem { #expect(await eventually { control.soFar == "w" }, "the command waits: \(err.soFar)") }
    return StartedPod(sandbox: try spawner.bind(stem, spec.bind), out: out, err: err)
  }

  /// A function that becomes the command as soon as it is loaded. It says first which descriptors of the zygote it found.
  private static func handler(_ arguments: [String]) -> String {
    let words = arguments.map { "'\($0)'" }.joined(separator: ", ")
    return """
      import os
      os.closerange(3, 6)
      def is_open(number):
          try: os.fstat(number)
          except OSError: return False
          return True
      found = [n for n in range(3, 1024) if is_open(n)]
      links = ",".join([os.readlink(f"/proc/self/fd/{n}") for n in found])
      os.write(1, f"zygote_descriptors {'open ' + links if found else 'blocked'}\\n".encode())
      words = [\(words)]
      os.execv(words[0], words)

      """
  }

  /// What a pod said until it ended.
  func finish(_ pod: StartedPod) async throws -> Finished {
    let exit = try await exit(of: pod.sandbox)
    return Finished(exit: exit, out: await pod.out.all(), err: await pod.err.all())
  }

  /// Runs a pod to its end in one of the ways it comes to its command.
  func run(
    _ arguments: [String], way: PodWay, code: String, zygote: Zygote? = nil,
    edit: (inout SandboxSpec) -> Void = { _ in }
  ) async throws -> Finished {
    try await finish(try await begin(arguments, way: way, code: code, zygote: zygote, edit: edit))
  }

  /// A zygote with our runner; with the common modules unless it is lean.
  func zygote(lean: Bool = true) async throws -> Zygote {
    try await spawner.launchZygote(
      root: try await TestRoots.zygotePath(),
      arguments: ["/usr/bin/python3", "-I", "-S", "/runtime/zygote.py"] + (lean ? ["lean"] : []),
      environment: ["LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"])
  }
}
