import CLinux

/// The bytes of the messages to the spawner and to stems; their layout is documented and decoded in CLinux's
/// `apus_protocol.h`.
enum SpawnerMessage {
  static let secretsFolder = "/var/openfaas/secrets/"

  /// Encodes SPAWN of a checked spec.
  static func spawn(_ spec: StemSpec, ticket: UInt64, cgroups: Int, cgroupV2: Bool) throws(SandboxError) -> [UInt8] {
    guard (0..<SandboxSpec.slotCount).contains(spec.slot) else {
      throw .invalidSpec("slot \(spec.slot) is outside 0 …< \(SandboxSpec.slotCount)")
    }
    guard spec.hostUID >= UInt32(APUS_UID_MIN), spec.hostUID < .max else {
      throw .invalidSpec("user \(spec.hostUID) is not one of the pods' (from \(APUS_UID_MIN))")
    }
    if let group = spec.hostGID, group < UInt32(APUS_UID_MIN) || group == .max {
      throw .invalidSpec("group \(group) is not one of the pods' (from \(APUS_UID_MIN))")
    }
    var head = apus_spawn_head()
    head.uid = spec.hostUID
    head.gid = spec.hostGID ?? spec.hostUID
    head.flags = flags(spec, cgroupV2: cgroupV2)
    if case .zygote(let zygote) = spec.origin { head.zygote = zygote.ticket }
    head.cgroups = UInt16(cgroups)
    (head.tmp_bytes, head.tmp_inodes) = tmp(spec.limits)
    let strings = try command(
      spec.warmArguments, spec.warmEnvironment, &head.arguments, &head.environment, isOptional: true)
    head.head = try self.head(
      APUS_SPAWN, ticket: ticket, slot: spec.slot, length: MemoryLayout<apus_spawn_head>.size + strings.count)
    return withUnsafeBytes(of: head) { Array($0) } + strings
  }

  /// Encodes BIND of a checked spec, for a stem with a warm command or without.
  static func bind(
    _ spec: BindSpec, ticket: UInt64, slot: Int, isWarm: Bool, limitProcesses: Bool
  ) throws(SandboxError) -> [UInt8] {
    try check(spec, isWarm: isWarm)
    var head = apus_bind_head()
    head.flags =
      (spec.codePath == nil ? 0 : APUS_FD_CODE.rawValue) | (spec.secrets.isEmpty ? 0 : APUS_FD_SECRETS.rawValue)
    head.open_files = max(spec.limits.openFiles, UInt32(APUS_OPEN_FILES_MIN))
    // The pod's own first process counts too.
    head.processes = limitProcesses ? spec.limits.pids + 1 : 0
    head.secrets = UInt16(spec.secrets.count)
    (head.tmp_bytes, head.tmp_inodes) = tmp(spec.limits)
    var strings: [UInt8] = []
    append(spec.hostname, to: &strings)
    append(spec.directory ?? (spec.codePath == nil ? "/" : "/function"), to: &strings)
    strings += try command(
      isWarm ? [] : spec.arguments, spec.environment, &head.arguments, &head.environment, isOptional: isWarm)
    for secret in spec.secrets {
      withUnsafeBytes(of: UInt32(secret.bytes.count)) { strings.append(contentsOf: $0) }
      append(relative(secret.path), to: &strings)
    }
    head.head = try self.head(
      APUS_BIND, ticket: ticket, slot: slot, length: MemoryLayout<apus_bind_head>.size + strings.count)
    return withUnsafeBytes(of: head) { Array($0) } + strings
  }

  /// Encodes ZYGOTE.
  static func zygote(_ arguments: [String], _ environment: [String: String], ticket: UInt64)
    throws(SandboxError) -> [UInt8]
  {
    var head = apus_zygote_head()
    let strings = try command(arguments, environment, &head.arguments, &head.environment, isOptional: false)
    head.head = try self.head(
      APUS_ZYGOTE, ticket: ticket, slot: 0, length: MemoryLayout<apus_zygote_head>.size + strings.count)
    return withUnsafeBytes(of: head) { Array($0) } + strings
  }

  /// Encodes RETIRE.
  static func retire(ticket: UInt64) -> [UInt8] {
    let head = apus_head(
      magic: UInt32(APUS_MAGIC), version: UInt16(APUS_VERSION), type: UInt16(APUS_RETIRE.rawValue),
      length: UInt32(MemoryLayout<apus_head>.size), slot: 0, ticket: ticket)
    return withUnsafeBytes(of: head) { Array($0) }
  }

  /// The descriptors that go with SPAWN, in the protocol's order.
  static func descriptors(_ spec: StemSpec, cgroups: [CInt], bind: CInt, root: CInt) -> [CInt] {
    let optional = [root, spec.stdout, spec.stderr, spec.listener, spec.frames, spec.control]
    return cgroups + [bind] + optional.filter { $0 >= 0 }
  }

  private static func flags(_ spec: StemSpec, cgroupV2: Bool) -> UInt32 {
    var flags = APUS_FD_BIND.rawValue
    if spec.seccomp { flags |= APUS_SECCOMP.rawValue }
    if cgroupV2 { flags |= APUS_CGROUP_V2.rawValue }
    if spec.hostNetwork { flags |= APUS_HOST_NETWORK.rawValue }
    switch spec.origin {
    case .root: flags |= APUS_FD_ROOT.rawValue
    case .mounted(_, let writable):
      flags |= APUS_FD_ROOT.rawValue | APUS_OWN_ROOT.rawValue | (writable ? APUS_ROOT_WRITABLE.rawValue : 0)
    case .zygote: break
    }
    if spec.stdout >= 0 { flags |= APUS_FD_STDOUT.rawValue }
    if spec.stderr >= 0 { flags |= APUS_FD_STDERR.rawValue }
    if spec.listener >= 0 { flags |= APUS_FD_LISTENER.rawValue }
    if spec.frames >= 0 { flags |= APUS_FD_FRAMES.rawValue }
    if spec.control >= 0 { flags |= APUS_FD_CONTROL.rawValue }
    return flags
  }

  private static func tmp(_ limits: SandboxLimits) -> (bytes: UInt64, inodes: UInt64) {
    (max(limits.tmpBytes, 4096), max(limits.tmpInodes, 2))
  }

  private static func head(_ type: apus_message, ticket: UInt64, slot: Int, length: Int) throws(SandboxError)
    -> apus_head
  {
    guard length <= Int(APUS_MESSAGE_MAX) else {
      throw .invalidSpec("command and environment are \(length) bytes; at most \(APUS_MESSAGE_MAX) fit")
    }
    return apus_head(
      magic: UInt32(APUS_MAGIC), version: UInt16(APUS_VERSION), type: UInt16(type.rawValue), length: UInt32(length),
      slot: UInt32(slot), ticket: ticket)
  }

  /// The strings of a command, checked, with their numbers.
  private static func command(
    _ arguments: [String], _ environment: [String: String], _ argumentCount: inout UInt16,
    _ environmentCount: inout UInt16, isOptional: Bool
  ) throws(SandboxError) -> [UInt8] {
    if let program = arguments.first {
      guard !program.isEmpty else { throw .invalidSpec("the command is empty") }
    } else if !isOptional {
      throw .invalidSpec("the command is empty")
    }
    guard arguments.count <= Int(APUS_ARGUMENTS_MAX) else {
      throw .invalidSpec("\(arguments.count) arguments; at most \(APUS_ARGUMENTS_MAX)")
    }
    guard environment.count <= Int(APUS_ENVIRONMENT_MAX) else {
      throw .invalidSpec("\(environment.count) environment variables; at most \(APUS_ENVIRONMENT_MAX)")
    }
    guard !arguments.contains(where: { $0.utf8.contains(0) }),
      !environment.values.contains(where: { $0.utf8.contains(0) })
    else { throw .invalidSpec("a NUL byte in the command or environment") }
    for name in environment.keys where name.isEmpty || name.utf8.contains(where: { $0 == 0 || $0 == 61 }) {
      throw .invalidSpec("environment variable name \"\(name)\" is empty or has `=` or NUL in it")
    }
    argumentCount = UInt16(arguments.count)
    environmentCount = UInt16(environment.count)
    var strings: [UInt8] = []
    strings.reserveCapacity(2048)
    for argument in arguments { append(argument, to: &strings) }
    for (name, value) in environment.sorted(by: { $0.key < $1.key }) { append("\(name)=\(value)", to: &strings) }
    return strings
  }

  private static func check(_ spec: BindSpec, isWarm: Bool) throws(SandboxError) {
    guard spec.hostname.utf8.count <= Int(APUS_HOSTNAME_MAX) else {
      throw .invalidSpec("host name \(spec.hostname) is longer than \(APUS_HOSTNAME_MAX) bytes")
    }
    guard !spec.hostname.utf8.contains(0) else { throw .invalidSpec("a NUL byte in the host name") }
    if let directory = spec.directory {
      guard directory.hasPrefix("/"), directory.utf8.count <= Int(APUS_DIRECTORY_MAX), !directory.utf8.contains(0)
      else {
        throw .invalidSpec(
          "working directory \(directory.prefix(80)): a path from /, at most \(APUS_DIRECTORY_MAX) bytes")
      }
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
  /// The spawner itself (ticket 0) or a zygote serves.
  case ready(ticket: UInt64)
  case started(ticket: UInt64, receivedNs: UInt64, clonedNs: UInt64, stoodNs: UInt64)
  case failed(ticket: UInt64, step: SandboxStep, errno: Int32)
  case bound(ticket: UInt64, ns: UInt64)
  /// An end; `step` is another than `.none` when it failed to become what it was bound to, and `status` is errno then.
  case exited(ticket: UInt64, step: SandboxStep, status: Int32, cpuMicroseconds: UInt64, peakKiB: UInt64)
  /// A zygote ended.
  case gone(ticket: UInt64)

  /// Nil for anything that is not a reply of this version.
  init?(_ reply: apus_reply, length: Int) {
    guard length == MemoryLayout<apus_reply>.size, reply.head.magic == UInt32(APUS_MAGIC),
      reply.head.version == UInt16(APUS_VERSION)
    else { return nil }
    let ticket = reply.head.ticket
    let step = SandboxStep(rawValue: reply.step) ?? .none
    switch UInt32(reply.head.type) {
    case APUS_READY.rawValue: self = .ready(ticket: ticket)
    case APUS_STARTED.rawValue:
      self = .started(ticket: ticket, receivedNs: reply.first, clonedNs: reply.second, stoodNs: reply.third)
    case APUS_FAILED.rawValue: self = .failed(ticket: ticket, step: step, errno: reply.code)
    case APUS_BOUND.rawValue: self = .bound(ticket: ticket, ns: reply.third)
    case APUS_EXITED.rawValue:
      self = .exited(
        ticket: ticket, step: step, status: reply.code, cpuMicroseconds: reply.first, peakKiB: reply.second)
    case APUS_GONE.rawValue: self = .gone(ticket: ticket)
    default: return nil
    }
  }
}
