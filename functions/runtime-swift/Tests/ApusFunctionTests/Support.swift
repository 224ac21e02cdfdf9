import Glibc

@testable import ApusFunction

/// Numbers that a seed decides (SplitMix64).
struct Seeded: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}

/// Two ends of a unix stream socket and a file that collects frames.
final class Wire {
  let mine: Int32
  let theirs: Int32
  let frames: Frames
  private let reading: Int32
  private let writing: Int32

  init() {
    var ends: [Int32] = [-1, -1]
    socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends)
    (mine, theirs) = (ends[0], ends[1])
    let pipe = Sockets.pipeEnds() ?? (read: -1, write: -1)
    (reading, writing) = (pipe.read, pipe.write)
    Sockets.nonBlocking(reading)
    _ = fcntl(writing, 1031, 1 << 20)  // F_SETPIPE_SZ: room for every frame of a test
    frames = Frames(descriptor: writing)
  }

  deinit { for descriptor in [mine, theirs, reading, writing] { close(descriptor) } }

  /// What the function's end has sent so far.
  func received() -> String {
    var bytes: [UInt8] = []
    while case .bytes = Sockets.receive(mine, into: &bytes, wait: false) {}
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The frames written so far, a line each.
  func lines() -> [String] {
    var space = [UInt8](repeating: 0, count: 1 << 20)
    let count = read(reading, &space, space.count)
    return String(decoding: space[..<max(0, count)], as: UTF8.self).split(separator: "\n").map(String.init)
  }

  /// A call whose head and following bytes are those of `text`.
  func call(_ text: String, maxBody: Int = 1000) throws -> Call {
    let bytes = Array(text.utf8)
    guard let end = try HeadParser.end(of: bytes) else { throw BadRequest("the test's head does not end") }
    return Call(
      head: try HeadParser.parse(bytes[..<end]), descriptor: theirs, buffer: Array(bytes[end...]),
      cancellation: Cancellation(), frames: frames, maxBody: maxBody, draining: false)
  }
}
