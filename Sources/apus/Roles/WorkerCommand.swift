import ArgumentParser
import ClusterModel
import PodSandbox

/// `apus worker`.
struct WorkerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "worker",
    abstract: "Run a worker: the pods of one node.",
    discussion: """
      Example:
        apus worker --name worker-3 --join https://10.0.0.1:6440 --token-file token
      """)

  @OptionGroup var role: RoleOptions
  @Option(help: "The node's name, unique in the cluster.") var name: String
  @Option(help: ArgumentHelp("The server's API.", valueName: "url")) var join: String
  @Option(help: ArgumentHelp("A file with a join token; not needed once joined.", valueName: "file"))
  var tokenFile: String?
  @Option(help: ArgumentHelp("Label the node; may be repeated.", valueName: "key=value")) var label: [String] = []
  @Option(help: "CPU for pods (default: all of this machine).") var cpu: String?
  @Option(help: "Memory for pods (default: four fifths of this machine).") var memory: String?
  @Option(help: "Pods at most.") var pods = 1000
  @Option(
    help: ArgumentHelp(
      "Listen here for gateways on other machines (default: the address towards a server on another machine).",
      valueName: "host"))
  var listen: String?
  @Option(help: "The port for gateways on other machines; 0 takes a free one.") var port = WorkerRole.entryPort

  @OptionGroup var egress: EgressOptions
  @OptionGroup var isolation: IsolationOptions
  @OptionGroup var zygotes: ZygoteOptions

  @Option(
    help: ArgumentHelp(
      "Ask this registry of images by plain HTTP ($APUS_INSECURE_REGISTRIES, with commas); may be repeated.",
      valueName: "host:port"))
  var insecureRegistry: [String] = []

  @Option(
    help: ArgumentHelp(
      "Mask in log lines what these regular expressions match, one a line, beside secrets known by shape or name; "
        + "off masks nothing ($APUS_LOG_MASKS).",
      valueName: "file"))
  var logMasks: String?

  func validate() throws {
    if let problem = Schema.Rule.dnsLabel.check(name) { throw ValidationError("--name: \(problem)") }
    for text in label where !text.contains("=") { throw ValidationError("--label: \"\(text)\" is not key=value") }
    if let cpu, Quantity(cpu) == nil { throw ValidationError("--cpu: \"\(cpu)\" is not a quantity; use 2 or 500m") }
    if let memory, Quantity(memory) == nil {
      throw ValidationError("--memory: \"\(memory)\" is not a quantity; use 4Gi")
    }
  }

  func run() async throws {
    // First: what follows reads standard input, and this process begins anew.
    try WorkerRole.becomeRoot()
    CgroupTree.makeRoom()
    var token: String?
    if role.supervised {
      token = Lifeline.line()
      Lifeline.follow()
    }
    if let tokenFile { token = try FileReader.secretLine(tokenFile) }
    try isolation.check()
    let labels = label.map { $0.split(separator: "=", maxSplits: 1).map(String.init) }
    try await WorkerRole(
      folder: DataFolder.choose(role.data), name: name, server: join, token: token,
      labels: Dictionary(labels.map { ($0[0], $0.count > 1 ? $0[1] : "") }) { _, last in last },
      cpu: cpu.flatMap(Quantity.init), memory: memory.flatMap(Quantity.init), pods: pods,
      listen: listen.map { ($0, port) }, insecureRegistries: InsecureRegistries.chosen(insecureRegistry),
      logMasks: try LogMaskFile.masks(logMasks),
      egress: egress.network, leanZygotes: zygotes.leanZygotes,
      ending: role.after, logger: role.logger("apus.worker")
    ).run()
  }
}
