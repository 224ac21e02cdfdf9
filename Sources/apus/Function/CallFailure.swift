import ClusterAPI
import ClusterModel

/// A call that was answered with 400 or above.
struct CallFailure: Hashable {
  /// The HTTP status.
  let status: Int
  /// The function's name.
  let function: String
  /// The call's id; empty when the gateway sent none.
  let call: String
  /// Time from request to the end of the answer.
  let seconds: Double
  /// The platform's own error body; empty when the function answered itself.
  let body: [UInt8]

  /// `504 from pod slow-00001-x7k2p after 30.0 s: spec.timeout reached (call …; apus logs --call …)`
  var failure: Failure {
    let platform = try? JSONValue(bytes: body).decoded(as: CallError.self)
    let time = seconds < 1 ? "\(Figures.fixed(seconds * 1000, 0)) ms" : "\(Figures.fixed(seconds, 1)) s"
    var sentence = "\(status) from \(platform?.component ?? "function \(function)") after \(time)"
    if let platform { sentence += ": \(Text.visible(platform.message))" }
    let id = Text.visible(call.isEmpty ? (platform?.call ?? "") : call)
    if !id.isEmpty { sentence += " (call \(id); apus logs --call \(id))" }
    return Failure(sentence)
  }
}
