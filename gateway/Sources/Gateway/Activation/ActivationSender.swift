import ClusterAPI
import Logging
import Synchronization

/// Carries wishes and given-up pods to the control plane, off the data path.
///
/// One wish a function is out at a time (its dispatcher sees to that); each is tried `activationAttempts` times.
/// `run` owns every task it starts and ends with it.
final class ActivationSender: Sendable {
  private enum Order: Sendable {
    case want(FunctionDispatcher, PodsWanted)
    case podIdle(FunctionDispatcher?, uid: String, PodRelease)
  }

  private let activation: any Activation
  private let gateway: String
  private let logger: Logger
  private let orders: AsyncStream<Order>
  private let input: AsyncStream<Order>.Continuation

  init(activation: any Activation, gateway: String, logger: Logger) {
    self.activation = activation
    self.gateway = gateway
    self.logger = logger
    // Unbounded in form, bounded in fact: one wish a function, and one order a pod and phase.
    (orders, input) = AsyncStream.makeStream(of: Order.self)
  }

  /// Queues a wish.
  func want(_ dispatcher: FunctionDispatcher, revision: String, pods: Int, reason: String) {
    let route = dispatcher.route
    let wanted = PodsWanted(
      gateway: gateway, namespace: route.namespace, function: route.function, revision: revision, pods: pods,
      reason: reason)
    input.yield(.want(dispatcher, wanted))
  }

  /// Queues giving a pod up; `dispatcher` nil when its function is not known any more.
  func podIdle(_ dispatcher: FunctionDispatcher?, uid: String, _ why: PodRelease) {
    input.yield(.podIdle(dispatcher, uid: uid, why))
  }

  /// Delivers until cancelled.
  func run() async {
    await withDiscardingTaskGroup { group in
      for await order in orders { group.addTask { await self.deliver(order) } }
      group.cancelAll()
    }
  }

  private func deliver(_ order: Order) async {
    switch order {
    case .want(let dispatcher, let wanted):
      let delivered = await attempt("want", dispatcher) { () async throws(APIStatus) in
        try await self.activation.want(wanted)
      }
      dispatcher.wantAnswered(delivered: delivered)
    case .podIdle(let dispatcher, let uid, let why):
      let delivered = await attempt("pod idle", dispatcher) { () async throws(APIStatus) in
        try await self.activation.podIdle(uid: uid, gateway: self.gateway, why: why)
      }
      if !delivered { dispatcher?.idleRefused(uid) }
    }
  }

  private func attempt(
    _ what: String, _ dispatcher: FunctionDispatcher?, _ body: () async throws(APIStatus) -> Void
  ) async -> Bool {
    var pause = GatewayLimits.activationBackoff
    for number in 1...GatewayLimits.activationAttempts {
      do {
        try await body()
        return true
      } catch {
        logger.debug(
          "control plane refused",
          metadata: [
            "function.name": "\(dispatcher?.key ?? "")", "order": "\(what)", "attempt": "\(number)",
            "error": "\(error)",
          ])
        // 4xx: asking again would be refused again.
        if (400..<500).contains(error.code), error.code != 429 { return false }
      }
      guard number < GatewayLimits.activationAttempts else { break }
      do { try await Task.sleep(for: .milliseconds(pause)) } catch { return false }
      pause *= 2
    }
    return false
  }
}
