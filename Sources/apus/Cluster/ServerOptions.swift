import ArgumentParser
import ClusterAPI
import ClusterModel
import FoundationEssentials
import Glibc

/// Which cluster a command talks to.
struct ServerOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp("The kubeconfig of the cluster ($APUS_KUBECONFIG; default DATA/kubeconfig).", valueName: "file"))
  var kubeconfig: String?

  @Option(
    help: ArgumentHelp(
      "The cluster's data folder ($APUS_DATA; default /var/lib/apus for root, else $XDG_STATE_HOME/apus).",
      valueName: "folder"))
  var data: String?

  /// Where the cluster's data is.
  var folder: DataFolder {
    DataFolder.choose(flag: data, variables: { EnvironmentVariables[$0] }, root: geteuid() == 0)
  }

  /// The kubeconfig's path: the flag, $APUS_KUBECONFIG, DATA/kubeconfig.
  var kubeconfigPath: String {
    if let kubeconfig { return kubeconfig }
    if data == nil, let path = EnvironmentVariables["APUS_KUBECONFIG"], !path.isEmpty { return path }
    return folder.kubeconfig
  }
}

/// Which namespace a command works in.
struct NamespaceOption: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: ArgumentHelp("The namespace (default: the kubeconfig's, else `default`).", valueName: "name"))
  var namespace: String?

  /// Refuses what cannot be a namespace.
  func validate() throws {
    if let namespace, let problem = Schema.Rule.dnsLabel.check(namespace) {
      throw ValidationError("--namespace: \(problem)")
    }
  }
}

/// The folder that holds everything a cluster keeps on this machine.
struct DataFolder: Hashable, Sendable {
  /// The absolute path, without a slash at the end.
  let path: String

  /// The kubeconfig for this cluster's administrator (0600).
  var kubeconfig: String { path + "/kubeconfig" }
  /// What the supervisor runs, for `apus status`.
  var processes: String { path + "/run/processes.json" }

  /// The folder by flag, $APUS_DATA, or the default for root and for everyone else.
  static func choose(flag: String?, variables: (String) -> String?, root: Bool) -> DataFolder {
    if let flag { return DataFolder(path: absolute(flag)) }
    if let path = variables("APUS_DATA"), !path.isEmpty { return DataFolder(path: absolute(path)) }
    if root { return DataFolder(path: "/var/lib/apus") }
    let home = variables("HOME") ?? "/"
    let state = variables("XDG_STATE_HOME").flatMap { $0.isEmpty ? nil : $0 } ?? home + "/.local/state"
    return DataFolder(path: absolute(state + "/apus"))
  }

  /// A path made absolute against the working directory, without `.` parts and a slash at the end.
  static func absolute(_ path: String) -> String {
    let full = path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
    var parts: [Substring] = []
    for part in full.split(separator: "/") where part != "." {
      if part == "..", !parts.isEmpty { parts.removeLast() } else if part != ".." { parts.append(part) }
    }
    return "/" + parts.joined(separator: "/")
  }
}
