import Glibc

/// Decides what belongs into a root of each kind.
struct RootPlanner {
  private var closure = LibraryClosure()
  private var plan = RootPlan()
  private let loader: String
  private let libraryFolders: [String]

  /// Searched for commands, in this order.
  static let commandPath = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

  init() throws(RootError) {
    guard let shell = ProgramRun.find("sh", in: Self.commandPath), let loader = ElfImage(path: shell)?.interpreter
    else {
      throw .missing("no dynamically linked /bin/sh", advice: "apus needs a Linux with glibc")
    }
    self.loader = loader
    let ofShell = try closure.libraries(of: shell)
    var folders = Set(ofShell.map { String($0[..<($0.lastIndex(of: "/") ?? $0.startIndex)]) })
    folders.formUnion(["/usr/lib/\(Self.machine)-linux-gnu", "/usr/lib64", "/usr/lib"])
    libraryFolders = folders.sorted()
  }

  #if arch(x86_64)
    private static let machine = "x86_64"
  #else
    private static let machine = "aarch64"
  #endif

  /// The complete plan for a request.
  mutating func plan(_ request: RootRequest) throws(RootError) -> RootPlan {
    plan = RootPlan()
    addSkeleton()
    try addBase()
    switch request.kind {
    case .native: break
    case .python: try addPython()
    case .node: try addNode()
    case .exec: try addTools()
    case .lambda: try addLambda()
    case .egress: try addEgress()
    }
    for file in request.runtimeFiles {
      guard file.destination.hasPrefix("/"), !file.destination.split(separator: "/").contains("..") else {
        throw .missing("destination \(file.destination) is not an absolute path", advice: "use /runtime/<name>")
      }
      try plan.addProgram(file.source, at: file.destination, loader: loader, &closure)
    }
    return plan
  }

  private mutating func addSkeleton() {
    let folders = [
      "/proc", "/dev", "/tmp", "/function", "/runtime", "/etc", "/run", "/var/openfaas/secrets", "/usr/bin",
      "/usr/sbin", "/usr/lib", "/usr/lib64",
    ]
    for folder in folders { plan.add(.folder, at: folder) }
    for name in ["bin", "sbin", "lib", "lib64"] { plan.add(.link("usr/\(name)"), at: "/\(name)") }
    plan.add(.link("/tmp"), at: "/var/tmp")
    // A pod's own passwd is put over this one, with the user of its slot.
    let users =
      "root:x:0:0:root:/:/sbin/nologin\nfunction:x:\(HostUsers.first):\(HostUsers.first):function:/tmp:/bin/sh\n"
    plan.add(.text(users), at: "/etc/passwd")
    plan.add(.text("root:x:0:\nfunction:x:\(HostUsers.first):\n"), at: "/etc/group")
    plan.add(.text("127.0.0.1 localhost\n::1 localhost\n"), at: "/etc/hosts")
    let lookups = "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"
    plan.add(.text(lookups), at: "/etc/nsswitch.conf")
    plan.add(.text(EgressNetwork.resolvers), at: "/etc/resolv.conf")
    for file in ["/etc/ssl/certs/ca-certificates.crt", "/etc/services", "/etc/protocols"] {
      plan.addFile(file, at: file)
    }
  }

  /// Libraries that compiled programs and vendored extension modules expect of any host.
  private static let baseLibraries = [
    "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libresolv.so.2", "libutil.so.1",
    "libnss_files.so.2", "libnss_dns.so.2", "libgcc_s.so.1", "libstdc++.so.6", "libz.so.1",
  ]

  private mutating func addBase() throws(RootError) {
    plan.addFile(loader, at: loader)
    for name in Self.baseLibraries {
      guard let folder = libraryFolders.first(where: { access("\($0)/\(name)", R_OK) == 0 }) else { continue }
      try plan.addProgram("\(folder)/\(name)", at: "\(folder)/\(name)", loader: loader, &closure)
    }
  }

  private static let pythonWithout: Set<String> = [
    "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data", "site-packages",
    "dist-packages", "EXTERNALLY-MANAGED",
  ]

  private mutating func addPython() throws(RootError) {
    let python = "/usr/bin/python3"
    let question = "import sys,sysconfig;print(sysconfig.get_path('stdlib'));print('%d.%d'%sys.version_info[:2])"
    guard access(python, X_OK) == 0, let run = ProgramRun.run(python, ["-I", "-S", "-c", question]),
      run.exitCode == 0
    else {
      throw .missing("\(python) does not run", advice: "install it: apt-get install python3")
    }
    let lines = run.output.split(separator: "\n").map(String.init)
    guard lines.count == 2, lines[0].hasPrefix("/") else {
      throw .missing("\(python) does not say where its library is", advice: "reinstall python3")
    }
    let library = lines[0]
    try plan.addProgram(python, at: "/usr/bin/python\(lines[1])", loader: loader, &closure)
    plan.add(.link("python\(lines[1])"), at: "/usr/bin/python3")
    plan.add(.link("python\(lines[1])"), at: "/usr/bin/python")
    let build = CgroupFiles.folders(in: library).filter { $0.hasPrefix("config-") }
    plan.addFolder(library, at: library, without: Self.pythonWithout.union(build))
    let modules = "\(library)/lib-dynload"
    for name in CgroupFiles.names(in: modules) where name.hasSuffix(".so") {
      for needed in try closure.libraries(of: "\(modules)/\(name)", loader: loader) { plan.addFile(needed, at: needed) }
    }
    plan.interpreter = "/usr/bin/python3"
  }

  private mutating func addNode() throws(RootError) {
    let path = getenv("PATH").map { String(cString: $0) } ?? Self.commandPath
    guard let node = ProgramRun.find("node", in: "\(path):\(Self.commandPath)") else {
      throw .missing("no node in PATH", advice: "install Node 18 or newer")
    }
    guard let run = ProgramRun.run(node, ["--version"]), let major = Interpreter.major(run.output), major >= 18 else {
      throw .missing("\(node) is older than Node 18", advice: "install Node 18 or newer")
    }
    try plan.addProgram(Self.resolved(node), at: "/usr/bin/node", loader: loader, &closure)
    // Debian keeps parts of node itself outside the program.
    let outside = [
      "acorn", "acorn-walk", "cjs-module-lexer", "undici", "minimatch", "brace-expansion", "balanced-match",
    ]
    for name in outside {
      let folder = "/usr/share/nodejs/\(name)"
      if CgroupFiles.isFolder(folder) { plan.addFolder(folder, at: folder, without: []) }
    }
    plan.interpreter = "/usr/bin/node"
  }

  /// What scripts expect; those the host has are taken.
  static let tools = [
    "sh", "bash", "awk", "base32", "base64", "basename", "bc", "bunzip2", "bzip2", "cat", "chmod", "cksum",
    "cmp", "comm", "cp", "csplit", "cut", "date", "dd", "diff", "dirname", "du", "echo", "egrep", "env",
    "expand", "expr", "factor", "false", "fgrep", "file", "find", "fmt", "fold", "getopt", "grep", "gunzip",
    "gzip", "head", "hexdump", "hostname", "iconv", "id", "join", "jq", "ln", "ls", "md5sum", "mkdir", "mkfifo",
    "mktemp", "mv", "nl", "nproc", "numfmt", "od", "paste", "pr", "printenv", "printf", "ps", "pwd", "readlink",
    "realpath", "rev", "rm", "rmdir", "sed", "seq", "sha1sum", "sha256sum", "sha512sum", "shuf", "sleep",
    "sort", "split", "stat", "sum", "tac", "tail", "tar", "tee", "test", "timeout", "touch", "tr", "true",
    "truncate", "tsort", "uname", "unexpand", "uniq", "unxz", "wc", "whoami", "xargs", "xz", "xxd", "yes",
    "zcat", "[",
  ]

  private mutating func addTools() throws(RootError) {
    for name in Self.tools {
      guard let program = ProgramRun.find(name, in: Self.commandPath) else { continue }
      try plan.addProgram(Self.resolved(program), at: "/usr/bin/\(name)", loader: loader, &closure)
    }
    for name in ["sh", "cat", "grep", "sed", "sort"] where plan.entries["/usr/bin/\(name)"] == nil {
      throw .missing("no \(name) in \(Self.commandPath)", advice: "install coreutils, grep and sed")
    }
    plan.interpreter = "/bin/sh"
  }

  /// A `bootstrap` may be anything: a program, a script of the shell, of Python or of Node. An interpreter that the
  /// host does not have is left out, and said by the bootstrap that wants it.
  private mutating func addLambda() throws(RootError) {
    try addTools()
    if let curl = ProgramRun.find("curl", in: Self.commandPath) {
      try plan.addProgram(Self.resolved(curl), at: "/usr/bin/curl", loader: loader, &closure)
    }
    if access("/usr/bin/python3", X_OK) == 0 { try addPython() }
    do throws(RootError) { try addNode() } catch {}
    plan.add(.link("/function"), at: "/var/task")
    plan.interpreter = nil
  }

  private mutating func addEgress() throws(RootError) {
    guard let library = EgressNetwork.library(in: libraryFolders) else {
      throw .missing("\(EgressNetwork.libraryName) is not on this host", advice: EgressNetwork.advice)
    }
    try plan.addProgram(library, at: library, loader: loader, &closure)
    // The host's resolvers change while pods live: the worker keeps a copy in the folder that is hung in there.
    plan.add(.link("/function/resolv.conf"), at: "/etc/resolv.conf")
  }

  /// The file behind a chain of links.
  static func resolved(_ path: String) -> String {
    guard let real = realpath(path, nil) else { return path }
    defer { free(real) }
    return String(cString: real)
  }
}
