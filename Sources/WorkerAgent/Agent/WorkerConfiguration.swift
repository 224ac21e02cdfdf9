package import ClusterModel
package import ImageStore
package import PodSandbox

/// What a worker is started with.
package struct WorkerConfiguration: Sendable {
  /// The node's name.
  package var name: String
  /// Where its code, roots and spool are: `code/`, `roots/`, `spool/`.
  package var dataDirectory: String
  /// The first of the pod slots that are this worker's own on this machine.
  package var firstSlot = 0
  /// Where the sockets of its pods are: `/run/apus/<instance>`.
  package var runDirectory: String
  /// Eight hexadecimal digits, unique for each worker on a machine.
  package var instance: String
  /// Labels for node selectors.
  package var labels: [String: String]
  /// CPU for pods, thousandths of a core.
  package var milliCPU: Int64
  /// Memory for pods, bytes.
  package var memory: Int64
  /// Pods at most.
  package var pods: Int
  /// Where other machines' gateways enter; nil when none do.
  package var listenAddress: ListenAddress?
  /// The identity of the host's kernel and network namespace; equal ones may share unix sockets.
  package var hostIdentity: String
  /// The apus-spawner executable.
  package var spawnerPath: String
  /// The files of our runners.
  package var runtimeFiles: RuntimeFiles
  /// The version it reports.
  package var version: String
  /// The bounds of its log spool.
  package var spool: SpoolLimits
  /// How long a stopping worker waits for the control plane to stop drained pods, before it stops them itself;
  /// milliseconds.
  package var drainSettleMilliseconds: Int64 = 1000

  /// Registries (`HOST[:PORT]`) beyond this machine that are asked by plain HTTP.
  package var insecureRegistries: Set<String> = []
  /// The bounds of its images.
  package var images = ImageLimits()

  /// What is masked in log lines.
  package var logMasks = LogMasks.standard
  /// What this node opens to pods with `egress: internet`.
  package var egress = EgressNetwork()
  /// The apus-egress executable; nil gives no pod a way to the internet.
  package var egressProgram: String?
  /// The sockets on which gateways of this machine take calls of pods, as far as they are known now; the first that
  /// answers is taken.
  package var gatewaySockets: @Sendable () -> [String] = { [] }

  /// Python zygotes load what the runner needs and no common modules: less memory, slower imports.
  package var leanZygotes = false

  /// Slots that a worker takes beyond those of its pods, for pods made ahead.
  package static let stemsMaximum = StemPlan.most

  /// A host and port to listen on.
  package struct ListenAddress: Hashable, Sendable {
    /// The address to bind.
    package var host: String
    /// The port; 0 for a free one.
    package var port: Int
    /// The host others should use; nil for `host`.
    package var advertisedHost: String?

    /// An address.
    package init(host: String, port: Int, advertisedHost: String? = nil) {
      self.host = host
      self.port = port
      self.advertisedHost = advertisedHost
    }
  }

  /// Folders and files of our runners, on the host.
  package struct RuntimeFiles: Hashable, Sendable {
    /// The folder with runner.py, apus.py and what they import.
    package var python: String
    /// The folder with runner.mjs and what it imports.
    package var node: String
    /// The file apus-exec-runner.
    package var execRunner: String
    /// The module that Python zygotes load; pods start an interpreter each where it is missing.
    package var zygoteModule: String
    /// The file apus-lambda-bridge.
    package var lambdaBridge: String

    /// The places of all.
    package init(python: String, node: String, execRunner: String, zygoteModule: String, lambdaBridge: String) {
      self.python = python
      self.node = node
      self.execRunner = execRunner
      self.zygoteModule = zygoteModule
      self.lambdaBridge = lambdaBridge
    }
  }

  /// A configuration of all parts.
  package init(
    name: String, dataDirectory: String, runDirectory: String, instance: String, labels: [String: String],
    milliCPU: Int64, memory: Int64, pods: Int, listenAddress: ListenAddress?, hostIdentity: String,
    spawnerPath: String, runtimeFiles: RuntimeFiles, version: String, spool: SpoolLimits = SpoolLimits()
  ) {
    self.name = name
    self.dataDirectory = dataDirectory
    self.runDirectory = runDirectory
    self.instance = instance
    self.labels = labels
    self.milliCPU = milliCPU
    self.memory = memory
    self.pods = pods
    self.listenAddress = listenAddress
    self.hostIdentity = hostIdentity
    self.spawnerPath = spawnerPath
    self.runtimeFiles = runtimeFiles
    self.version = version
    self.spool = spool
  }
}
