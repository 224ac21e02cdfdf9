import CLinux

/// The bytes of a SPAWN message; the layout is documented and decoded in CLinux's `apus_protocol.h`.
enum SpawnerMessage {
  static let secretsFolder = "/var/openfaas/secrets/"

  /// Encodes a checked spec.
  static func spawn(_ spec: SandboxSpec, ticket: UInt64, cgroups: Int, cgroupV2: Bool, limitProcesses: Bool)
    throws(SandboxError) -> [UInt8]
  {
    try check(spec)
    var head = apus_spawn_head()
    head.uid = spec.hostUID
    head.gid = spec.hostGID
    head.flags = flags(spec, cgroupV2: cgroupV2)
    head.open_files = max(spec.limits.openFiles, UInt32(APUS_OPEN_FILES_MIN))
    // The pod's own first process counts too.
    head.processes = limitProcesses ? spec.limits.pids + 1 : 0
    head.arguments = UInt16(spec.arguments.count)
    head.environment = UInt16(spec.environment.count)
    head.secrets = UInt16(spec.secrets.count)
    head.cgroups = UInt16(cgroups)
    head.tmp_bytes = max(spec.limits.tmpBytes, 4096)
    head.tmp_inodes = max(spec.limits.tmpInodes, 2)

    var strings: [UInt8] = []
    strings.reserveCapacity(2048)
    append(spec.hostname, to: &strings)
    if let directory = spec.directory { append(directory, to: &strings) }
    for argument in spec.arguments { append(argument, to: &strings) }
    for (name, value) in spec.environment.sorted(by: { $0.key < $1.key }) { append("\(name)=\(value)", to: &strings) }
    for secret in spec.secrets {
      withUnsafeBytes(of: UInt32(secret.bytes.count)) { strings.append(contentsOf: $0) }
      append(relative(secret.path), to: &strings)
    }
    let length = MemoryLayout<apus_spawn_head>.size + strings.count
    guard length <= Int(APUS_MESSAGE_MAX) else {
      throw .invalidSpec("command and environment are \(length) bytes; at most \(APUS_MESSAGE_MAX) fit")
    }
    head.head = apus_head(
      magic: UInt32(APUS_MAGIC), version: UInt16(APUS_VERSION), type: UInt16(APUS_SPAWN.rawValue),
      length: UInt32(length), slot: UInt32(spec.slot), ticket: ticket)
    return withUnsafeBytes(of: head) { Array($0) } + strings
  }

  /// The descriptors that go with the message, in the protocol's order.
  static func descriptors(_ spec: SandboxSpec, cgroups: [CInt], root: CInt, code: CInt, secrets: CInt) -> [CInt] {
    let optional = [code, spec.stdout, spec.stderr, spec.listener, spec.frames, spec.control, secrets]
    return cgroups + [root] + optional.filter { $0 >= 0 }
  }

  private static func flags(_ spec: SandboxSpec, cgroupV2: Bool) -> UInt32 {
    var flags: UInt32 = 0
    if spec.seccomp { flags |= APUS_SECCOMP.rawValue }
    if cgroupV2 { flags |= APUS_CGROUP_V2.rawValue }
    if spec.rootWritable { flags |= APUS_ROOT_WRITABLE.rawValue }
    if spec.directory != nil { flags |= APUS_DIRECTORY.rawValue }
    if spec.codePath != nil { flags |= APUS_FD_CODE.rawValue }
    if spec.stdout >= 0 { flags |= APUS_FD_STDOUT.rawValue }
    if spec.stderr >= 0 { flags |= APUS_FD_STDERR.rawValue }
    if spec.listener >= 0 { flags |= APUS_FD_LISTENER.rawValue }
    if spec.frames >= 0 { flags |= APUS_FD_FRAMES.rawValue }
    if spec.control >= 0 { flags |= APUS_FD_CONTROL.rawValue }
    if !spec.secrets.isEmpty { flags |= APUS_FD_SECRETS.rawValue }
    return flags
  }

  private static func check(_ spec: SandboxSpec) throws(SandboxError) {
    guard (0..<SandboxSpec.slotCount).contains(spec.slot) else {
      throw .invalidSpec("slot \(spec.slot) is outside 0 …< \(SandboxSpec.slotCount)")
    }
    guard spec.hostUID >= UInt32(APUS_UID_MIN), spec.hostUID < .max else {
      throw .invalidSpec("user \(spec.hostUID) is not one of the pods' (from \(APUS_UID_MIN))")
    }
    guard spec.hostGID >= UInt32(APUS_UID_MIN), spec.hostGID < .max else {
      throw .invalidSpec("group \(spec.hostGID) is not one of the pods' (from \(APUS_UID_MIN))")
    }
    if let directory = spec.directory {
      guard directory.hasPrefix("/"), directory.utf8.count <= Int(APUS_DIRECTORY_MAX), !directory.utf8.contains(0)
      else {
        throw .invalidSpec("the working directory \(directory) is not an absolute path")
      }
    }
    guard !spec.rootWritable || spec.rootDescriptor >= 0 else {
      throw .invalidSpec("the root folder \(spec.rootPath) is shared by pods; only one of its own takes writes")
    }
    guard let program = spec.arguments.first, !program.isEmpty else { throw .invalidSpec("the command is empty") }
    guard spec.arguments.count <= Int(APUS_ARGUMENTS_MAX) else {
      throw .invalidSpec("\(spec.arguments.count) arguments; at most \(APUS_ARGUMENTS_MAX)")
    }
    guard spec.environment.count <= Int(APUS_ENVIRONMENT_MAX) else {
      throw .invalidSpec("\(spec.environment.count) environment variables; at most \(APUS_ENVIRONMENT_MAX)")
    }
    guard spec.hostname.utf8.count <= Int(APUS_HOSTNAME_MAX) else {
      throw .invalidSpec("host name \(spec.hostname) is longer than \(APUS_HOSTNAME_MAX) bytes")
    }
    let texts = [spec.hostname] + spec.arguments + spec.environment.values
    guard !texts.contains(where: { $0.utf8.contains(0) }) else {
      throw .invalidSpec("a NUL byte in the host name, command or environment")
    }
    for name in spec.environment.keys where name.isEmpty || name.utf8.contains(where: { $0 == 0 || $0 == 61 }) {
      throw .invalidSpec("environment variable name \"\(name)\" is empty or has `=` or NUL in it")
    }
    try check(secrets: spec.secrets)
  }

  private static func check(secrets: [SandboxSecret]) throws(SandboxError) {
    guard secrets.count <= Int(APUS_SECRETS_MAX) else {
      throw .invalidSpec("\(secrets.count) secrets; at most \(APUS_SECRETS_MAX)")
    }
    var seen: Set<String> = []
    for secret in secrets {
      let path = relative(secret.path)
      guard !path.utf8.contains(0), path.utf8.count <= Int(APUS_SECRET_PATH_MAX), apus_secret_path_ok(path) == 1 else {
        throw .invalidSpec("secret path \(secret.path): one or two names of letters, digits, `.`, `-`, `_`")
      }
      guard seen.insert(path).inserted else { throw .invalidSpec("secret \(path) is given twice") }
      guard secret.bytes.count <= Int(APUS_SECRET_BYTES_MAX) else {
        throw .invalidSpec("secret \(path) has \(secret.bytes.count) bytes; at most \(APUS_SECRET_BYTES_MAX)")
      }
    }
    let total = secrets.reduce(0) { $0 + $1.bytes.count }
    guard total <= Int(APUS_SECRETS_BYTES_MAX) else {
      throw .invalidSpec("\(total) bytes of secrets; at most \(APUS_SECRETS_BYTES_MAX)")
    }
  }

  private static func relative(_ path: String) -> String {
    path.hasPrefix(secretsFolder) ? String(path.dropFirst(secretsFolder.count)) : path
  }

  private static func append(_ text: String, to bytes: inout [UInt8]) {
    bytes.append(contentsOf: text.utf8)
    bytes.append(0)
  }
}

/// What the spawner says.
enum SpawnerReply: Equatable {
  case ready
  case started(ticket: UInt64, receivedNs: UInt64, clonedNs: UInt64, executedNs: UInt64)
  case failed(ticket: UInt64, step: SandboxStep, errno: Int32)
  case exited(ticket: UInt64, waitStatus: Int32, cpuMicroseconds: UInt64, peakKiB: UInt64)

  /// Nil for anything that is not a reply of this version.
  init?(_ reply: apus_reply, length: Int) {
    guard length == MemoryLayout<apus_reply>.size, reply.head.magic == UInt32(APUS_MAGIC),
      reply.head.version == UInt16(APUS_VERSION)
    else { return nil }
    switch UInt32(reply.head.type) {
    case APUS_READY.rawValue: self = .ready
    case APUS_STARTED.rawValue:
      self = .started(
        ticket: reply.head.ticket, receivedNs: reply.first, clonedNs: reply.second, executedNs: reply.third)
    case APUS_FAILED.rawValue:
      self = .failed(
        ticket: reply.head.ticket, step: SandboxStep(rawValue: reply.step) ?? .none, errno: reply.code)
    case APUS_EXITED.rawValue:
      self = .exited(
        ticket: reply.head.ticket, waitStatus: reply.code, cpuMicroseconds: reply.first, peakKiB: reply.second)
    default: return nil
    }
  }
}
