internal import NIOCore

/// Sets socket options by which a connection to a machine that vanished ends within seconds.
final class DeadPeerHandler: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = Any

  /// Silence before the first probe, seconds.
  static let probeAfterSeconds: Int = 5
  /// Time between probes, seconds.
  static let probeEverySeconds: Int = 2
  /// Unanswered probes that end the connection.
  static let probes: Int = 3
  /// How long sent bytes may stay unacknowledged, milliseconds.
  static let unacknowledgedMilliseconds: Int = 10_000

  func handlerAdded(context: ChannelHandlerContext) {
    let settings: [(NIOBSDSocket.OptionLevel, NIOBSDSocket.Option, Int)] = [
      (.socket, .so_keepalive, 1),
      (.tcp, NIOBSDSocket.Option(rawValue: 4), Self.probeAfterSeconds),  // TCP_KEEPIDLE
      (.tcp, NIOBSDSocket.Option(rawValue: 5), Self.probeEverySeconds),  // TCP_KEEPINTVL
      (.tcp, NIOBSDSocket.Option(rawValue: 6), Self.probes),  // TCP_KEEPCNT
      (.tcp, NIOBSDSocket.Option(rawValue: 18), Self.unacknowledgedMilliseconds),  // TCP_USER_TIMEOUT
    ]
    for (level, name, value) in settings {
      // A socket that does not know an option (a unix one) works without it.
      _ = context.channel.setOption(ChannelOptions.Types.SocketOption(level: level, name: name), value: value)
    }
  }
}
