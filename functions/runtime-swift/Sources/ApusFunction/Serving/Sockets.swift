import Glibc
package import Synchronization

/// The few system calls of the server, with errors a caller can branch on.
package enum Sockets {
  /// poll's sign that the peer closed or half closed its end (POLLRDHUP, Linux).
  package static let peerClosed: Int16 = 0x2000
  static let stallSeconds = 60

  /// What a read gave.
  package enum Received: Equatable {
    case bytes(Int)
    case closed
    case wouldBlock
  }

  /// Appends what a socket has to `buffer`: at most `limit` bytes, at once or after waiting.
  package static func receive(
    _ descriptor: Int32, into buffer: inout [UInt8], limit: Int = 64 * 1024, wait: Bool
  ) -> Received {
    let piece = [UInt8](unsafeUninitializedCapacity: limit) { space, count in
      var got: Int
      repeat {
        got = recv(descriptor, space.baseAddress, limit, wait ? 0 : Int32(MSG_DONTWAIT))
      } while got < 0 && errno == EINTR
      let failed = errno
      count = max(0, got)
      if got < 0 { errno = failed } else if got == 0 { errno = 0 }
    }
    if piece.isEmpty { return errno == EAGAIN || errno == EWOULDBLOCK ? .wouldBlock : .closed }
    buffer += piece
    return .bytes(piece.count)
  }

  /// Sends all bytes; false when the peer has gone or has not read for a minute.
  package static func sendAll(_ descriptor: Int32, _ bytes: ArraySlice<UInt8>) -> Bool {
    bytes.withUnsafeBytes { space in
      var sent = 0
      while sent < space.count {
        let count = send(
          descriptor, space.baseAddress?.advanced(by: sent), space.count - sent, Int32(MSG_NOSIGNAL))
        if count < 0, errno == EINTR { continue }
        if count <= 0 { return false }
        sent += count
      }
      return true
    }
  }

  /// Held while a descriptor is made and marked close-on-exec, and while a child is started: without accept4 and pipe2,
  /// which Swift's Glibc does not show, a child could otherwise inherit a descriptor made in between.
  package static let descriptors = Mutex(())

  /// The two ends of a new pipe, closed in children; nil when no descriptor is left.
  package static func pipeEnds() -> (read: Int32, write: Int32)? {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { return nil }
    for end in ends { closeOnExec(end) }
    return (ends[0], ends[1])
  }

  /// The next connection of a listener, or -1 with errno.
  package static func acceptOne(_ listener: Int32) -> Int32 {
    descriptors.withLock { _ in
      let descriptor = accept(listener, nil, nil)
      if descriptor >= 0 { closeOnExec(descriptor) }
      return descriptor
    }
  }

  /// Bounds how long a blocking read or write of a connection may stall.
  package static func bound(_ descriptor: Int32) {
    var limit = timeval(tv_sec: stallSeconds, tv_usec: 0)
    let size = socklen_t(MemoryLayout<timeval>.size)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, size)
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, size)
  }

  /// Keeps a descriptor from being inherited by a child process.
  package static func closeOnExec(_ descriptor: Int32) {
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
  }

  /// Makes reads and writes of a descriptor return at once.
  package static func nonBlocking(_ descriptor: Int32) {
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
  }

  /// Whether the peer closed or half closed the connection: the sign that it gave up.
  package static func isGone(_ descriptor: Int32) -> Bool {
    var entry = pollfd(fd: descriptor, events: peerClosed, revents: 0)
    return poll(&entry, 1, 0) > 0
  }
}
