import ClusterAPI
import ClusterModel
import NIOCore

/// Calls of pods: who they are is known, and which functions they may call follows from it.
extension ClientConnection {
  /// The function a target names; for a pod one of its own namespace.
  func dispatcher(of target: FunctionTarget, _ bytes: UnsafeRawBufferPointer) throws(Refusal) -> FunctionDispatcher? {
    guard let caller else { return loop.routes.dispatcher(target, bytes, services.table) }
    if target.dot != nil, target.namespace(bytes) != caller.namespace {
      throw Refusal(
        .forbidden,
        "function \"\(caller.function)\" may call functions of its own namespace \"\(caller.namespace)\" only")
    }
    return services.table.dispatcher("\(caller.namespace)/\(target.function(bytes))")
  }

  /// The namespace a target is in.
  func namespace(of target: FunctionTarget, _ bytes: UnsafeRawBufferPointer) -> String {
    caller?.namespace ?? target.namespace(bytes)
  }

  /// The length of the chain of calls that a pod's call is part of; 0 for everybody else.
  func depth(to function: FunctionDispatcher) throws(Refusal) -> Int {
    guard let caller else { return 0 }
    let depth = services.depths.next(after: caller.uid)
    guard depth <= GatewayLimits.callDepth else {
      refusedBy = function
      throw Refusal(
        .callLoop,
        "\(depth) functions call one another, the last of them \"\(caller.function)\" for \"\(function.key)\": a circle?"
      )
    }
    return depth
  }

  /// Who the client is, the same for all requests of a connection.
  func client() -> ClientAddress {
    if let address { return address }
    let made = ClientAddress(
      isOwn || caller != nil ? "127.0.0.1" : context?.channel.remoteAddress?.ipAddress ?? "unknown",
      isTLS: services.configuration.serverTLS != nil && caller == nil, isOwn: isOwn, caller: caller?.field)
    address = made
    return made
  }
}
