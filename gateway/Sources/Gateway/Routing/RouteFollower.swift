import ClusterAPI
import Logging
import Synchronization

/// Follows the route feed into the table. When the feed is lost the table stays as it is, and the feed is asked again.
final class RouteFollower: Sendable {
  private let feed: any RouteFeed
  private let gateway: String
  private let table: RouteTable
  private let logger: Logger
  private let following = Mutex(false)

  init(feed: any RouteFeed, gateway: String, table: RouteTable, logger: Logger) {
    self.feed = feed
    self.gateway = gateway
    self.table = table
    self.logger = logger
  }

  /// Whether the feed is connected now.
  var connected: Bool { following.withLock { $0 } }

  /// Follows until cancelled.
  func run() async {
    var pause = GatewayLimits.feedBackoff
    while !Task.isCancelled {
      do {
        for await update in try await feed.subscribe(gateway: gateway) {
          if case .snapshot = update {
            following.withLock { $0 = true }
            pause = GatewayLimits.feedBackoff
          }
          table.apply(update)
        }
        if !Task.isCancelled { logger.warning("route feed ended, serving with the last table") }
      } catch {
        logger.warning("route feed cannot be reached", metadata: ["error": "\(error)", "again.ms": "\(pause)"])
      }
      following.withLock { $0 = false }
      do { try await Task.sleep(for: .milliseconds(pause)) } catch { return }
      pause = min(pause * 2, GatewayLimits.feedBackoffMaximum)
    }
  }
}
