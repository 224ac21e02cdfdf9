package import ClusterModel

/// What a stem, a pod made ahead, can become: functions of one kind take any of its stems. Pure.
package struct StemKind: Hashable, Sendable {
  /// How far a stem is ahead of a pod that is started from nothing.
  package enum Warmth: Hashable, Sendable {
    /// Its sandbox stands; the command is executed when it has a function.
    case sandbox
    /// Its interpreter was executed, has loaded our runner and waits. The interpreter sizes its heap after the memory
    /// limit it finds, so it becomes functions of that limit alone.
    case interpreter(memory: Int64)
    /// Its interpreter is a fork of a zygote. Forks of one share their address layout and hash seed, so each namespace
    /// has a zygote of its own.
    case fork(namespace: String)
  }

  /// What stands in the root.
  package var root: StemRoot
  /// How far it is.
  package var warmth: Warmth
  /// It serves `$PORT`: no socket of ours, no frames, no control pipe.
  package var servesPort: Bool

  /// The roots that stems are made on.
  package enum StemRoot: String, Hashable, Sendable, CaseIterable {
    case python, node, native, exec, lambda
  }

  /// The kind whose stems can become a pod; nil for one that must be started from nothing.
  package init?(_ spec: FunctionSpec, namespace: String) {
    let names = (spec.env ?? [:]).keys
    servesPort = spec.runtime.servesPort
    switch spec.runtime {
    case .python:
      guard !names.contains(where: Self.isReadAtStart) else { return nil }
      (root, warmth) = (.python, .fork(namespace: namespace))
    case .node:
      guard !names.contains(where: Self.isReadAtStart) else { return nil }
      (root, warmth) = (.node, .interpreter(memory: spec.resources.memory.value))
    case .swift: (root, warmth) = (.native, .sandbox)
    case .exec: (root, warmth) = (.exec, .sandbox)
    case .image: return nil
    case .lambda: (root, warmth) = (.lambda, .sandbox)
    case .binary: (root, warmth) = (Self.root(ofCommand: spec.command?.first), .sandbox)
    }
  }

  private init(_ root: StemRoot, _ warmth: Warmth, servesPort: Bool = false) {
    self.root = root
    self.warmth = warmth
    self.servesPort = servesPort
  }

  /// What a node makes one of before it had any pod: what costs next to nothing, on roots that are made ahead too.
  static let usual = [
    StemKind(.native, .sandbox), StemKind(.native, .sandbox, servesPort: true),
    StemKind(.python, .fork(namespace: "default")),
  ]

  /// The root of an executable of the package: a command that names an interpreter gets that one's.
  package static func root(ofCommand program: String?) -> StemRoot {
    switch program?.split(separator: "/").last {
    case "python3": .python
    case "node": .node
    case "sh", "bash", "busybox", "env": .exec
    default: .native
    }
  }

  /// Variables that an interpreter or the loader reads when it starts: too late for one that waits.
  private static func isReadAtStart(_ name: String) -> Bool {
    ["LD_", "NODE_", "UV_", "PYTHON", "OPENSSL_", "SSL_CERT_", "GLIBC_", "MALLOC_"].contains { name.hasPrefix($0) }
  }

  /// About how much memory a waiting stem takes, bytes: what the pools' bound counts.
  var cost: Int64 {
    switch warmth {
    case .sandbox: 1 << 20
    case .fork: 3 << 20
    case .interpreter: 48 << 20
    }
  }

  /// Stems of one kind at most.
  var most: Int {
    switch warmth {
    case .sandbox, .fork: 224
    case .interpreter: 8
    }
  }

  /// For people and figures: `python/default`, `node/128Mi`, `native`, `native+port`.
  package var name: String {
    let place =
      switch warmth {
      case .sandbox: root.rawValue
      case .interpreter(let memory): "\(root.rawValue)/\(Quantity(bytes: memory).description)"
      case .fork(let namespace): "\(root.rawValue)/\(namespace)"
      }
    return servesPort ? "\(place)+port" : place
  }
}
