import ArgumentParser
import ClusterModel
import PodSandbox

/// What a worker opens to pods whose function asks for `egress: internet`.
struct EgressOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Let pods with egress: internet reach this private range too, such as 10.0.0.0/8; may be repeated.",
      valueName: "cidr"))
  var egressAllow: [String] = []

  func validate() throws {
    for text in egressAllow {
      if let problem = EgressNetwork.problem(withRange: text) { throw ValidationError("--egress-allow: \(problem)") }
    }
    if egressAllow.count > EgressNetwork.rangesMax {
      throw ValidationError("--egress-allow: \(egressAllow.count) ranges, at most \(EgressNetwork.rangesMax)")
    }
  }

  /// What is opened.
  var network: EgressNetwork { EgressNetwork(allowed: egressAllow.compactMap { AddressRange($0) }) }

  /// The flags that hand these options on.
  var flags: [String] { egressAllow.flatMap { ["--egress-allow", $0] } }
}
