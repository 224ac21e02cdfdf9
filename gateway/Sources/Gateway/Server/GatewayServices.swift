import ClusterAPI
import ClusterModel
import Logging
import NIOCore
import NIOSSL
import Synchronization

/// What every connection of a gateway shares.
final class GatewayServices: Sendable {
  let configuration: GatewayConfiguration
  let table: RouteTable
  let metrics: GatewayMetrics
  let accessLog: AccessLog?
  /// How long the chains of calls are that pods are part of.
  let depths = CallDepths()
  /// Where calls for later go; nil keeps none.
  let calls: (any CallQueue)?
  let logger: Logger
  private let draining = Atomic(false)
  private let handsOver = Atomic(false)
  private let open = Atomic(0)
  /// Last answers of connections that the kernel has not taken yet.
  private let answers = Atomic(0)
  private let intake = Atomic(0)
  private let loops = Mutex<[ObjectIdentifier: NIOLoopBound<GatewayLoop>]>([:])
  private let drained: AsyncStream<Void>
  private let drainedInput: AsyncStream<Void>.Continuation

  init(
    configuration: GatewayConfiguration, table: RouteTable, metrics: GatewayMetrics, accessLog: AccessLog?,
    logger: Logger, calls: (any CallQueue)? = nil
  ) {
    self.configuration = configuration
    self.table = table
    self.metrics = metrics
    self.accessLog = accessLog
    self.calls = calls
    self.logger = logger
    (drained, drainedInput) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
  }

  /// Whether the gateway is shutting down: connections close after their answer.
  var isDraining: Bool { draining.load(ordering: .relaxed) }

  /// Calls that are not over.
  var callsOpen: Int { open.load(ordering: .relaxed) }

  /// Whether the gateway shuts down and a connection may close without having said so in an answer. Where another process
  /// goes on in its place, it may not: a client could be sending its next request right now.
  var closesUnannounced: Bool { isDraining && !handsOver.load(ordering: .relaxed) }

  /// From now on connections close after their answer. Those between two requests close now, or, where another process
  /// takes over, after their next answer.
  func startDraining(handsOver: Bool = false) {
    self.handsOver.store(handsOver, ordering: .sequentiallyConsistent)
    draining.store(true, ordering: .sequentiallyConsistent)
    // Every loop has looked at its connections before anything counts as drained.
    answers.add(loops.withLock { $0.count }, ordering: .sequentiallyConsistent)
    onEachLoop { loop in
      if !handsOver { for client in Array(loop.clients.values) { client.drain() } }
      for connection in Array(loop.multiplexed.values) { connection.drain() }
      self.answerTaken()
    }
  }

  /// Waits until no call is open and the last answers are taken, after `startDraining`.
  func waitUntilDrained() async {
    for await _ in drained where isDrained { return }
  }

  private var isDrained: Bool {
    guard callsOpen == 0, answers.load(ordering: .sequentiallyConsistent) == 0 else { return false }
    return !handsOver.load(ordering: .relaxed) || metrics.connections == 0
  }

  private func signalIfDrained() {
    if isDraining, isDrained { drainedInput.yield() }
  }

  /// The last bytes for a client were written.
  func answerStarted() { answers.add(1, ordering: .relaxed) }

  /// The kernel took them, or the client is gone.
  func answerTaken() {
    answers.subtract(1, ordering: .sequentiallyConsistent)
    signalIfDrained()
  }

  /// A client's connection is over.
  func clientDisconnected() {
    metrics.clientDisconnected()
    signalIfDrained()
  }

  /// A call began.
  func callStarted() { open.add(1, ordering: .relaxed) }

  /// Makes what an event loop owns; called on it.
  func makeLoop(on eventLoop: any EventLoop, index: Int, workerTLS: @escaping @Sendable () -> NIOSSLContext?) {
    let pool = UpstreamPool(
      eventLoop: eventLoop, hostIdentity: configuration.hostIdentity, tls: workerTLS, metrics: metrics)
    let bound = NIOLoopBound(GatewayLoop(eventLoop: eventLoop, index: index, pool: pool), eventLoop: eventLoop)
    loops.withLock { $0[ObjectIdentifier(eventLoop)] = bound }
  }

  /// What an event loop owns; called on it.
  func loop(on eventLoop: any EventLoop) -> GatewayLoop? {
    loops.withLock { $0[ObjectIdentifier(eventLoop)] }?.value
  }

  /// Closes connections to a start of a pod on every loop.
  func retire(_ key: PodKey, abort: Bool) { onEachLoop { $0.pool.retire(key, abort: abort) } }

  /// Closes every connection.
  func closeAll() {
    onEachLoop { loop in
      for client in Array(loop.clients.values) { client.context?.close(promise: nil) }
      for connection in Array(loop.multiplexed.values) { connection.stop() }
      for client in Array(loop.tunnels.values) { client.close(promise: nil) }
      loop.pool.closeAll()
    }
  }

  /// Counts and logs a routed call that ended. One that was sent to a pod before that was ready may be over before the
  /// phases of the pod's start are told: its record waits for them a moment.
  func account(
    _ record: CallRecord, early: Bool, _ dispatcher: FunctionDispatcher, _ loop: GatewayLoop,
    waited: Int64 = 0
  ) {
    guard early, let pod = record.pod else { return account(record, dispatcher, loop) }
    var record = record
    if let known = dispatcher.ready(pod.key) {
      record.pod = known
    } else if waited < GatewayLimits.earlyRecordMilliseconds {
      let pause = GatewayLimits.earlyRecordMilliseconds / 5
      loop.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(pause)) { [record] in
        self.account(record, early: true, dispatcher, loop, waited: waited + pause)
      }
      return
    }
    account(record, dispatcher, loop)
  }

  private func account(_ record: CallRecord, _ dispatcher: FunctionDispatcher, _ loop: GatewayLoop) {
    dispatcher.meters.add(record, loop: loop.index)
    accessLog?.add(record, clock: &loop.clock)
    if open.subtract(1, ordering: .sequentiallyConsistent).newValue == 0 { signalIfDrained() }
  }

  /// Takes room for a piece of a call's body that is held until it is durable; false when there is none.
  func takeIntake(_ bytes: Int) -> Bool {
    intake.add(bytes, ordering: .relaxed).newValue <= configuration.intakeBytes
  }

  /// Counts and logs a request that was kept for later, or not, and gives the room of its body back.
  func account(intake record: CallRecord, held: Int, _ loop: GatewayLoop) {
    intake.subtract(held, ordering: .relaxed)
    account(refused: record, nil, loop)
    if open.subtract(1, ordering: .sequentiallyConsistent).newValue == 0 { signalIfDrained() }
  }

  /// Counts and logs a request that became no call, for a function or for none.
  func account(refused record: CallRecord, _ dispatcher: FunctionDispatcher?, _ loop: GatewayLoop) {
    var record = record
    record.info = dispatcher?.info
    if let dispatcher {
      dispatcher.meters.add(record, loop: loop.index)
    } else {
      metrics.addUnrouted(record)
    }
    accessLog?.add(record, clock: &loop.clock)
  }

  private func onEachLoop(_ body: @escaping @Sendable (GatewayLoop) -> Void) {
    for bound in loops.withLock({ Array($0.values) }) {
      bound.eventLoop.execute { body(bound.value) }
    }
  }
}

/// Carries out what dispatchers decide.
final class GatewayEffects: DispatchEffects {
  private let sender: ActivationSender
  private let services: Mutex<GatewayServices?> = Mutex(nil)

  init(sender: ActivationSender) { self.sender = sender }

  /// Set once, before the first dispatcher exists.
  func attach(_ services: GatewayServices) { self.services.withLock { $0 = services } }

  func want(_ dispatcher: FunctionDispatcher, revision: String, pods: Int, reason: String) {
    sender.want(dispatcher, revision: revision, pods: pods, reason: reason)
  }

  func podIdle(_ dispatcher: FunctionDispatcher, uid: String, _ why: PodRelease) {
    sender.podIdle(dispatcher, uid: uid, why)
  }

  func retire(_ key: PodKey, abort: Bool) { services.withLock { $0 }?.retire(key, abort: abort) }
}
