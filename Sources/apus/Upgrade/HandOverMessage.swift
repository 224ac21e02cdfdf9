import FoundationEssentials

/// What two processes of one gateway say to each other while one takes the sockets of the other; one packet each.
///
/// The newcomer says `hello`; the owner sends each descriptor in a packet of its own, then `offered`; the newcomer, once it
/// knows the routes, says `ready`; the owner accepts no more, says `yours` and drains; the newcomer accepts. Either may say
/// `refused` instead and hang up.
enum HandOverMessage: Hashable, Sendable {
  /// A newcomer asks for the sockets.
  case hello(process: Int32, program: String)
  /// One descriptor comes with this packet.
  case descriptor(Role, address: String)
  /// That was all of them.
  case offered(count: Int, process: Int32)
  /// The newcomer could serve.
  case ready
  /// The owner accepts no connections any more.
  case yours
  /// There will be no hand-over.
  case refused(String)

  /// What a descriptor is for.
  enum Role: String, Codable, Hashable, Sendable, CaseIterable {
    /// The lock of the gateway's folder, held.
    case lock
    /// Where the next newcomer will ask.
    case control
    /// Calls.
    case entrance
    /// Figures and probes.
    case admin
  }

  /// What this program speaks; another version is refused.
  static let version = 1
  /// Bytes of a message at most.
  static let bytesMax = 2048
  /// Descriptors of one hand-over at most.
  static let descriptorsMax = 256
  /// Characters of an address, of a program's version and of a reason at most.
  static let textMax = 512

  private struct Wire: Codable {
    var version = HandOverMessage.version
    var kind: String
    var role: String?
    var address: String?
    var count: Int?
    var process: Int32?
    var program: String?
    var why: String?
  }

  /// The message as a packet.
  var bytes: [UInt8] {
    var wire = Wire(kind: kind)
    switch self {
    case .hello(let process, let program): (wire.process, wire.program) = (process, Self.clip(program))
    case .descriptor(let role, let address): (wire.role, wire.address) = (role.rawValue, Self.clip(address))
    case .offered(let count, let process): (wire.count, wire.process) = (count, process)
    case .refused(let why): wire.why = Self.clip(why)
    case .ready, .yours: break
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // A value of texts and numbers always encodes.
    return (try? encoder.encode(wire)).map { Array($0) } ?? []
  }

  /// Reads a packet; throws what is wrong with it.
  init(_ bytes: [UInt8]) throws(HandOverFault) {
    guard bytes.count <= Self.bytesMax else { throw HandOverFault("a message of more than \(Self.bytesMax) bytes") }
    guard let wire = try? JSONDecoder().decode(Wire.self, from: Data(bytes)) else {
      throw HandOverFault("a message that cannot be read")
    }
    guard wire.version == Self.version else {
      throw HandOverFault("version \(wire.version) of the hand-over is spoken there, and version \(Self.version) here")
    }
    for text in [wire.address, wire.program, wire.why] {
      guard (text?.count ?? 0) <= Self.textMax else { throw HandOverFault("a text that is too long") }
    }
    switch (wire.kind, wire.process, wire.role.flatMap(Role.init(rawValue:))) {
    case ("hello", let process?, _) where process > 0:
      self = .hello(process: process, program: Self.clip(wire.program ?? ""))
    case ("descriptor", _, let role?): self = .descriptor(role, address: Self.clip(wire.address ?? ""))
    case ("descriptor", _, nil):
      throw HandOverFault("a descriptor for \"\(wire.role ?? "nothing")\", which this version does not know")
    case ("offered", let process?, _) where process > 0:
      guard let count = wire.count, (0...Self.descriptorsMax).contains(count) else {
        throw HandOverFault("an impossible number of descriptors")
      }
      self = .offered(count: count, process: process)
    case ("ready", _, _): self = .ready
    case ("yours", _, _): self = .yours
    case ("refused", _, _): self = .refused(Self.clip(wire.why ?? "no reason was given"))
    default: throw HandOverFault("a message of unknown kind \"\(wire.kind.prefix(20))\"")
    }
  }

  private var kind: String {
    switch self {
    case .hello: "hello"
    case .descriptor: "descriptor"
    case .offered: "offered"
    case .ready: "ready"
    case .yours: "yours"
    case .refused: "refused"
    }
  }

  /// A text of so many bytes that it fits, written as JSON however it may be escaped.
  private static func clip(_ text: String) -> String {
    String(text.unicodeScalars.filter { $0.value >= 32 && $0.value != 127 }.prefix(200).map(Character.init))
  }
}

/// Why a hand-over cannot go on.
struct HandOverFault: Error, Hashable, CustomStringConvertible {
  /// What was wrong.
  let description: String

  init(_ description: String) { self.description = description }
}
