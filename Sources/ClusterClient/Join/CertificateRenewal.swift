internal import ClusterAPI
package import ClusterModel
package import Logging

/// Renews a member's certificate when two thirds of its validity are over, for as long as it runs.
///
/// `run` has the form of a service of swift-service-lifecycle. New connections use the new certificate at once; streams
/// that are open go on.
package struct CertificateRenewal<C: Clock>: Sendable where C.Duration == Duration {
  private let client: APIClient
  private let credentials: MemberCredentials
  private let clock: C
  private let now: @Sendable () -> Timestamp
  private let logger: Logger
  private let renewed: @Sendable (MemberCredentials) async -> Void

  /// Waits between attempts that fail.
  static var retryEvery: (first: Duration, longest: Duration) { (.seconds(5), .seconds(300)) }

  /// A renewal of `credentials`, which `client` must be using; `renewed` is called with each new ones, to keep them.
  package init(
    client: APIClient, credentials: MemberCredentials, clock: C = ContinuousClock(),
    now: @escaping @Sendable () -> Timestamp = { Timestamp.now() }, logger: Logger = Logger(label: "apus.renewal"),
    renewed: @escaping @Sendable (MemberCredentials) async -> Void
  ) {
    self.client = client
    self.credentials = credentials
    self.clock = clock
    self.now = now
    self.logger = logger
    self.renewed = renewed
  }

  /// Renews until the task is cancelled.
  package func run() async throws {
    var current = credentials
    var wait = Self.retryEvery.first
    while !Task.isCancelled {
      let due = current.renewAt.milliseconds(since: now())
      if due > 0 { try await clock.sleep(for: .milliseconds(due)) }
      do throws(APIStatus) {
        let next = try await JoinClient.certificate(
          for: current.role, current.name, through: client, authority: current.authority)
        do {
          try client.use(next.credential)
        } catch {
          throw APIStatus.internalError(error.description)
        }
        current = next
        wait = Self.retryEvery.first
        logger.info("certificate renewed", metadata: ["certificate.valid_until": "\(current.validUntil)"])
        await renewed(current)
      } catch {
        logger.warning(
          "certificate not renewed yet",
          metadata: ["error": "\(error.message)", "certificate.valid_until": "\(current.validUntil)"])
        try await clock.sleep(for: wait)
        wait = min(wait * 2, Self.retryEvery.longest)
      }
    }
  }
}
