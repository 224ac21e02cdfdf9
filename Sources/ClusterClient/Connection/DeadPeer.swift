internal import NIOCore
internal import NIOPosix

/// Socket options by which a connection to a machine that vanished ends within seconds instead of a quarter of an hour.
enum DeadPeer {
  /// Silence before the first probe, seconds.
  static let probeAfterSeconds: Int = 5
  /// Time between probes, seconds.
  static let probeEverySeconds: Int = 2
  /// Unanswered probes that end the connection.
  static let probes: Int = 3
  /// How long sent bytes may stay unacknowledged, milliseconds.
  static let unacknowledgedMilliseconds: Int = 10_000

  /// Sets the options on a TCP connection; others are left alone.
  static func detect(on channel: any Channel) -> EventLoopFuture<Void> {
    let settings: [(NIOBSDSocket.OptionLevel, NIOBSDSocket.Option, Int)] = [
      (.socket, .so_keepalive, 1),
      (.tcp, NIOBSDSocket.Option(rawValue: 4), probeAfterSeconds),  // TCP_KEEPIDLE
      (.tcp, NIOBSDSocket.Option(rawValue: 5), probeEverySeconds),  // TCP_KEEPINTVL
      (.tcp, NIOBSDSocket.Option(rawValue: 6), probes),  // TCP_KEEPCNT
      (.tcp, NIOBSDSocket.Option(rawValue: 18), unacknowledgedMilliseconds),  // TCP_USER_TIMEOUT
    ]
    let done = settings.map { level, name, value in
      channel.setOption(ChannelOptions.Types.SocketOption(level: level, name: name), value: value)
    }
    // A socket that does not know an option (a unix one) works without it.
    return EventLoopFuture.whenAllComplete(done, on: channel.eventLoop).map { _ in }
  }
}
