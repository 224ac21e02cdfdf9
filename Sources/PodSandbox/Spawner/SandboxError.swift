import Glibc

/// Where a start can fail inside the spawner or the pod.
package enum SandboxStep: UInt32, Sendable {
  case none = 0
  case message, capacity, template, clone, cgroup, root, code, dev, tmp, proc, secrets, pivot, hostname, loopback
  case limits, capabilities, identity, seccomp, descriptors, fork, directory, exec, zygote, bind

  /// The step as words that end "failed while …".
  package var words: String {
    switch self {
    case .none: "doing something it does not name"
    case .message: "reading the start message"
    case .capacity: "looking for a free place among its pods"
    case .template: "preparing its template namespace"
    case .clone: "creating the pod's namespaces"
    case .cgroup: "joining the pod's cgroups"
    case .root: "attaching the root"
    case .code: "attaching the code at /function"
    case .dev: "attaching /dev"
    case .tmp: "mounting /tmp"
    case .proc: "mounting /proc"
    case .secrets: "writing the secrets"
    case .pivot: "changing to the pod's root"
    case .hostname: "setting the host name"
    case .loopback: "raising the loopback interface"
    case .limits: "setting the process limits"
    case .capabilities: "dropping capabilities"
    case .identity: "changing to the pod's user"
    case .seccomp: "installing the system call filter"
    case .descriptors: "placing the descriptors"
    case .fork: "forking the command"
    case .directory: "entering its working directory"
    case .exec: "executing the command"
    case .zygote: "asking its zygote for a pod"
    case .bind: "reading what it is to be"
    }
  }
}

/// Why a pod or the spawner did not start.
package enum SandboxError: Error, Sendable, Equatable, CustomStringConvertible {
  /// A field of the spec cannot be used; the text says which and why.
  case invalidSpec(String)
  /// A file or folder on the host could not be prepared.
  case host(doing: String, errno: CInt)
  /// The spawner or the pod failed at a step; nothing is running.
  case failed(step: SandboxStep, errno: CInt, command: String)
  /// The spawner is gone: killed, or shut down; start a new one.
  case spawnerGone(String)
  /// More starts are waiting than the spawner's queue holds; try again.
  case busy(limit: Int)

  /// The explanation in words.
  package var description: String {
    switch self {
    case .invalidSpec(let text): "sandbox: \(text)"
    case .host(let doing, let code): "sandbox: \(doing): \(Self.text(code))"
    case .failed(.exec, ENOENT, let command):
      "sandbox: the command \(command) was not found in the pod; its path is seen from inside the pod"
    case .failed(.exec, EACCES, let command):
      "sandbox: the command \(command) may not be executed; set its executable bit (chmod +x) and deploy again"
    case .failed(.exec, ENOEXEC, let command):
      "sandbox: the command \(command) is not a program for this machine"
    case .failed(let step, let code, let command):
      "sandbox: failed while \(step.words) (\(Self.text(code)), command \(command))"
    case .spawnerGone(let why): "sandbox: the spawner is gone: \(why)"
    case .busy(let limit): "sandbox: \(limit) starts are waiting already; try again when some are done"
    }
  }

  static func text(_ code: CInt) -> String {
    guard let words = strerror(code) else { return "error \(code)" }
    return String(cString: words)
  }
}
