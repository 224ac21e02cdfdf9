import Glibc
import Synchronization

/// SIGTERM, and the pipe that wakes the serving loop.
enum StopSignal {
  private static let flag = Atomic<Bool>(false)
  private static let pipeEnds: (read: Int32, write: Int32) = {
    guard let ends = Sockets.pipeEnds() else { return (-1, -1) }
    Sockets.nonBlocking(ends.read)
    Sockets.nonBlocking(ends.write)
    return ends
  }()

  static var isSet: Bool { flag.load(ordering: .acquiring) }
  static var wakeRead: Int32 { pipeEnds.read }

  /// Takes SIGTERM as the wish to drain; ignores SIGPIPE, and SIGINT, which a terminal sends to the whole group.
  static func install() {
    _ = (pipeEnds, isSet)  // made now: a signal handler must not be the first to touch them
    signal(SIGPIPE, SIG_IGN)
    signal(SIGINT, SIG_IGN)
    signal(SIGTERM) { _ in
      let saved = errno
      StopSignal.flag.store(true, ordering: .releasing)
      StopSignal.wake()
      errno = saved
    }
  }

  static func set() {
    flag.store(true, ordering: .releasing)
    wake()
  }

  static func wake() {
    var byte: UInt8 = 0
    _ = write(pipeEnds.write, &byte, 1)
  }

  static func clear() {
    var space = [UInt8](repeating: 0, count: 512)
    _ = read(pipeEnds.read, &space, space.count)
  }
}
