/// What a root is for.
package enum RootKind: String, Sendable, CaseIterable {
  /// The system's /usr/bin/python3 with its standard library.
  case python
  /// Node 18 or newer from the PATH.
  case node
  /// A shell and the common Unix tools.
  case exec
  /// What Lambda's own environments hold and the host has: the shell and its tools, curl, Python and Node.
  case lambda
  /// The C and C++ libraries and zlib: what a compiled program is linked against; also for Swift.
  case native
  /// libslirp and what it needs, for the process that carries a pod's packets.
  case egress
}

/// A file of the platform that goes into a root, for instance a runner.
package struct RuntimeFile: Sendable, Hashable {
  /// Where it is on the host.
  package var source: String
  /// Its absolute path in the root, for instance /runtime/runner.py.
  package var destination: String

  /// A file and its place.
  package init(source: String, destination: String) {
    self.source = source
    self.destination = destination
  }
}

/// A root to prepare.
package struct RootRequest: Sendable, Hashable {
  /// What it is for.
  package var kind: RootKind
  /// Files of the platform; programs among them bring their libraries.
  package var runtimeFiles: [RuntimeFile]

  /// A request.
  package init(kind: RootKind, runtimeFiles: [RuntimeFile] = []) {
    self.kind = kind
    self.runtimeFiles = runtimeFiles
  }
}

/// A root that is ready.
package struct PreparedRoot: Sendable, Equatable {
  /// Its folder on the host, DATA/roots/<digest>.
  package var path: String
  /// SHA-256 over what went in.
  package var digest: String
  /// The interpreter inside the root, for instance /usr/bin/python3; nil for native.
  package var interpreter: String?
  /// It was there already.
  package var reused: Bool
  /// Size of its files in bytes.
  package var bytes: UInt64
}

/// Why a root could not be prepared.
package enum RootError: Error, Sendable, Equatable, CustomStringConvertible {
  /// Something of the host is needed and is not there.
  case missing(String, advice: String)
  /// A file operation failed.
  case failed(doing: String, errno: CInt)

  /// The explanation in words.
  package var description: String {
    switch self {
    case .missing(let what, let advice): "preparing a root: \(what); \(advice)"
    case .failed(let doing, let code): "preparing a root: \(doing): \(SandboxError.text(code))"
    }
  }
}
