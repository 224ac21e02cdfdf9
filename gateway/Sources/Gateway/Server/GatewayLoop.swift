import ClusterModel
import Glibc
import NIOCore

/// What one event loop owns: its client connections, its connections to pods, and room that is used again. Only used on
/// the loop.
final class GatewayLoop {
  /// Calls kept for use again at most.
  private static let spareMax = 1024
  /// Bytes of room a spare call or the loop's own buffers keep at most.
  private static let roomMax = 16 * 1024

  let eventLoop: any EventLoop
  /// Which of the gateway's loops it is.
  let index: Int
  let pool: UpstreamPool
  var clients: [ObjectIdentifier: ClientConnection] = [:]
  /// Connections of HTTP/2, whose streams are not among `clients`.
  var multiplexed: [ObjectIdentifier: HTTP2Connection] = [:]
  /// The client's side of each tunnel.
  var tunnels: [ObjectIdentifier: any Channel] = [:]
  var routes = RouteCache()
  var random = LoopRandom()
  var clock = TimeText()
  /// The head for the pod that is being put together.
  var head = CallText()
  /// Room for the answer that is being put together.
  var answer = ByteBuffer()
  private var spare: [Call] = []

  init(eventLoop: any EventLoop, index: Int, pool: UpstreamPool) {
    self.eventLoop = eventLoop
    self.index = index
    self.pool = pool
  }

  /// The call of a request whose head stands in `head`: one that is over, or a new one.
  func makeCall(
    _ request: CallRequest, for dispatcher: FunctionDispatcher, client: any CallClient, services: GatewayServices
  ) -> Call {
    guard let call = spare.popLast() else {
      return Call(request, for: dispatcher, client: client, services: services, loop: self)
    }
    call.take(request, for: dispatcher, client: client)
    return call
  }

  /// Takes a call back that is over and that nobody refers to any more.
  func recycle(_ call: Call) {
    guard spare.count < Self.spareMax, call.record.text.bytes.capacity <= Self.roomMax else { return }
    spare.append(call)
  }

  /// Takes the answer's room back.
  func returnAnswer(_ buffer: inout ByteBuffer) {
    if buffer.capacity <= 2 * Self.roomMax { swap(&answer, &buffer) }
    buffer = ByteBuffer()
  }
}

/// The system's randomness, 256 bytes at a time: as many as one call of getentropy(3) gives.
struct LoopRandom: RandomNumberGenerator {
  private var words = [UInt64](repeating: 0, count: 32)
  private var used = 32

  mutating func next() -> UInt64 {
    if used == words.count { fill() }
    defer { used += 1 }
    return words[used]
  }

  private mutating func fill() {
    used = 0
    if words.withUnsafeMutableBytes({ getentropy($0.baseAddress, $0.count) }) != 0 {
      var system = SystemRandomNumberGenerator()
      for index in words.indices { words[index] = system.next() }
    }
  }
}
