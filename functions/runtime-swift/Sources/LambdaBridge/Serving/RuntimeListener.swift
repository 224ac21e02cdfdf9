import ApusFunction
import Glibc
import Synchronization

/// The Runtime API's listening socket on the loopback, and a thread for each connection of the runtime.
package final class RuntimeListener: Sendable {
  /// `127.0.0.1:PORT`, what AWS_LAMBDA_RUNTIME_API says.
  package let address: String
  private let listener: Int32
  private let connectionsMaximum: Int
  private let threads = CallThreads()
  private let open = Atomic<Int>(0)

  /// Listens on a free port; nil when the system gives none. A connection beyond so many is closed.
  package init?(connectionsMaximum: Int) {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard listener >= 0 else { return nil }
    Sockets.closeOnExec(listener)
    Sockets.nonBlocking(listener)
    var place = sockaddr_in()
    place.sin_family = sa_family_t(AF_INET)
    place.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let done = withUnsafeMutablePointer(to: &place) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        bind(listener, address, size) == 0 && listen(listener, 128) == 0 && getsockname(listener, address, &size) == 0
      }
    }
    guard done else {
      close(listener)
      return nil
    }
    self.listener = listener
    address = "127.0.0.1:\(UInt16(bigEndian: place.sin_port))"
    self.connectionsMaximum = connectionsMaximum
  }

  /// Serves connections to the end of the process, on threads of their own.
  package func serve(_ api: RuntimeAPI) -> Bool {
    threads.start { [self] in
      while true {
        // Accepting holds a lock of the whole process: it must not wait for a connection.
        var entry = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
        _ = poll(&entry, 1, -1)
        let connection = Sockets.acceptOne(listener)
        guard connection >= 0 else {
          if errno == EINTR || errno == ECONNABORTED || errno == EAGAIN { continue }
          return  // no descriptor is left for the runtime's connections: it notices, and ends
        }
        let count = open.wrappingAdd(1, ordering: .relaxed).newValue
        let isTaken =
          count <= connectionsMaximum
          && threads.start { [self] in
            serve(connection, api)
            close(connection)
            open.wrappingSubtract(1, ordering: .relaxed)
          }
        if !isTaken {
          close(connection)
          open.wrappingSubtract(1, ordering: .relaxed)
        }
      }
    }
  }

  private func serve(_ connection: Int32, _ api: RuntimeAPI) {
    Sockets.bound(connection)
    var yes: Int32 = 1
    setsockopt(connection, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
    var buffer: [UInt8] = []
    while true {
      do throws(BadRequest) {
        guard let end = try HeadParser.end(of: buffer) else {
          switch Sockets.receive(connection, into: &buffer, wait: true) {
          case .bytes: continue
          // A runtime that works keeps its connection silent for as long as it works.
          case .wouldBlock where buffer.isEmpty: continue
          case .closed, .wouldBlock: return
          }
        }
        let head = try HeadParser.parse(buffer[..<end])
        let call = api.call(head, on: connection, buffer: Array(buffer[end...]))
        api.serve(call)
        guard call.answered, call.keepAlive, call.bodyComplete else { return }
        buffer = call.buffer
      } catch {
        return api.refuse(error, on: connection)
      }
    }
  }
}
