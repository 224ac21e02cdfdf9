import ArgumentParser
import Foundation
import Glibc
import Logging
import Testing

@testable import apus

@Suite struct HandOverTests {
  static let messages: [HandOverMessage] = [
    .hello(process: 12, program: "0.1.0"), .descriptor(.entrance, address: "127.0.0.1:8080"),
    .descriptor(.lock, address: ""), .offered(count: 4, process: 7), .ready, .yours, .refused("no \"reason\""),
  ]

  // MARK: messages

  @Test func `every message comes back as it was sent`() throws {
    for message in Self.messages {
      #expect(try HandOverMessage(message.bytes) == message)
      #expect(message.bytes.count <= HandOverMessage.bytesMax)
    }
    for role in HandOverMessage.Role.allCases {
      #expect(
        try HandOverMessage(HandOverMessage.descriptor(role, address: "x").bytes) == .descriptor(role, address: "x"))
    }
    // However long and strange a reason is, it fits.
    let long = HandOverMessage.refused(String(repeating: "\u{1}\"\\😀", count: 5000))
    #expect(long.bytes.count <= HandOverMessage.bytesMax)
    #expect(throws: Never.self) { try HandOverMessage(long.bytes) }
  }

  @Test(
    arguments: [
      ("", "cannot be read"), ("{}", "cannot be read"), ("[1]", "cannot be read"),
      (#"{"kind":"ready","version":2}"#, "version 2"),
      (#"{"kind":"dance","version":1}"#, "unknown kind"),
      (#"{"kind":"hello","version":1}"#, "unknown kind"),
      (#"{"kind":"hello","process":-1,"version":1}"#, "unknown kind"),
      (#"{"kind":"descriptor","role":"window","version":1}"#, "window"),
      (#"{"count":100000,"kind":"offered","process":1,"version":1}"#, "impossible"),
    ])
  func `what is no message is refused with the reason`(text: String, why: String) {
    #expect { try HandOverMessage(Array(text.utf8)) } throws: { "\($0)".contains(why) }
  }

  @Test func `a longer message than allowed is refused`() {
    let bytes = Array(#"{"kind":"ready","version":1}"#.utf8) + [UInt8](repeating: 32, count: HandOverMessage.bytesMax)
    #expect { try HandOverMessage(bytes) } throws: { "\($0)".contains("more than") }
  }

  @Test func `20,000 broken messages are read or refused`() throws {
    var random = Seeded(state: 42)
    var (read, refused) = (0, 0)
    for round in 0..<20_000 {
      var bytes = Self.messages[round % Self.messages.count].bytes
      for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
        let at = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.remove(at: at)
        case 2: bytes.insert(UInt8.random(in: 0...255, using: &random), at: at)
        default: bytes = Array(bytes[..<at])
        }
      }
      if let message = try? HandOverMessage(bytes) {
        read += 1
        #expect(try HandOverMessage(message.bytes) == message)
      } else {
        refused += 1
      }
    }
    #expect(read > 100 && refused > 10_000, "\(read) read, \(refused) refused")
  }

  private struct Seeded: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state ^ (state >> 29)
    }
  }

  // MARK: whose turn it is

  private let hello = Result<HandOverMessage, HandOverFault>.success(.hello(process: 77, program: "x"))

  @Test func `one newcomer at a time gets the sockets, and they are its own once it is ready`() {
    var turn = HandOverTurn(user: 1000)
    #expect(turn.connected(1, user: 1000, now: 0) == nil)
    #expect(turn.received(1, hello, now: 10) == .offer(1))
    guard case .refuse(2, let why)? = turn.connected(2, user: 1000, now: 5010) else {
      Issue.record("the second was let in")
      return
    }
    #expect(why.contains("process 77") && why.contains("5 s"))
    #expect(turn.received(1, .success(.ready), now: 20) == .yield(1))
    #expect(turn.over)
  }

  @Test func `others than the owner and root are refused`() {
    for stranger: UInt32? in [1001, nil] {
      var turn = HandOverTurn(user: 1000)
      guard case .refuse(1, let why)? = turn.connected(1, user: stranger, now: 0) else {
        Issue.record("a stranger was let in")
        return
      }
      #expect(why.contains("user"))
      #expect(turn.connected(2, user: 0, now: 0) == nil)
    }
  }

  @Test func `a newcomer that dies, is too slow or talks nonsense loses its turn, and the next gets it`() {
    var turn = HandOverTurn(user: 1)
    #expect(turn.connected(1, user: 1, now: 0) == nil)
    #expect(turn.received(1, hello, now: 0) == .offer(1))
    #expect(turn.closed(1) == .drop(1, "it ended before it was ready"))
    #expect(turn.connected(2, user: 1, now: 100) == nil)
    #expect(turn.tick(now: 100) == nil)
    #expect(turn.tick(now: 100 + HandOverTurn.greetingMilliseconds) == .refuse(2, "it was not ready within 5 s"))
    #expect(turn.connected(3, user: 1, now: 200) == nil)
    #expect(turn.received(3, .success(.ready), now: 200) == .refuse(3, "that was not the message expected"))
    #expect(turn.connected(4, user: 1, now: 300) == nil)
    #expect(turn.received(4, .failure(HandOverFault("what?")), now: 300) == .refuse(4, "what?"))
    #expect(turn.connected(5, user: 1, now: 400) == nil)
    #expect(turn.received(5, hello, now: 400) == .offer(5))
    #expect(turn.deadline == 400 + HandOverTurn.startMilliseconds)
    #expect(turn.closed(4) == nil, "one whose turn is over")
    #expect(!turn.over)
  }

  // MARK: over real sockets

  private let logger: Logger = {
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    return logger
  }()

  private func sockets(_ home: String) throws -> GatewaySockets {
    GatewaySockets(
      isOwner: true, lock: try DataFolder.take(home, for: "gateway").descriptor,
      control: try PacketSocket.listen(in: home, as: TakeOver.socketName).descriptor,
      entrances: try (0..<3).map { _ in try ListeningSocket.open(host: "127.0.0.1", port: 0, flag: "-") },
      admin: try ListeningSocket.open(host: "127.0.0.1", port: 0, flag: "-"))
  }

  private func withHome(_ body: (String) async throws -> Void) async throws {
    // Longer than an address of a socket may be.
    let root = FileManager.default.temporaryDirectory.path + "/apus-hand-\(UInt64.random(in: 0...UInt64.max))"
    let home = root + "/" + String(repeating: "long", count: 40)
    defer { try? FileManager.default.removeItem(atPath: root) }
    try await body(home)
  }

  private func connects(_ port: Int) -> Bool {
    let number = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(number) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(UInt16(port)).bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(number, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
  }

  @Test func `all listening sockets and the lock pass to the newcomer, and stay when the owner lets go`() async throws {
    try await withHome { home in
      let owner = try sockets(home)
      let ports = owner.entrances.map(\.address.port)
      let offer = HandOverOffer(parts: owner.parts, control: owner.control, logger: logger)
      let offering = Task { try await offer.run() }
      let taken = try #require(try await TakeOver.ask(in: home, patience: 60_000))
      #expect(taken.entrances.map(\.address.port) == ports)
      #expect(taken.admin.address == owner.admin.address)
      #expect(taken.process == getpid())
      // A second one is told who is before it.
      await #expect { _ = try await TakeOver.ask(in: home, patience: 60_000) } throws: {
        "\($0)".contains("process \(getpid())")
      }
      async let completing: Void = taken.complete()
      let heir = try #require(try await offering.value)
      heir.send(.yours)
      try await completing
      owner.letGo()
      #expect(!owner.isOwner)
      for port in ports { #expect(connects(port)) }
      #expect(throws: Failure.self) { _ = try DataFolder.take(home, for: "gateway") }
      // The name in the file system leads to the newcomer now.
      let next = HandOverOffer(parts: [], control: taken.control, logger: logger)
      let waiting = Task { try await next.run() }
      await #expect { _ = try await TakeOver.ask(in: home, patience: 60_000) } throws: {
        "\($0)".contains("descriptors of role lock")
      }
      waiting.cancel()
      #expect(try await waiting.value == nil)
    }
  }

  @Test func `a newcomer that goes away before it is ready changes nothing`() async throws {
    try await withHome { home in
      let owner = try sockets(home)
      let offer = HandOverOffer(parts: owner.parts, control: owner.control, logger: logger)
      let offering = Task { try await offer.run() }
      for _ in 0..<5 {
        do {
          // The owner may not have seen yet that the one before is gone.
          var taken: TakeOver?
          while taken == nil { taken = try? await TakeOver.ask(in: home, patience: 60_000) }
          #expect(taken?.entrances.count == 3)
        }
        for entrance in owner.entrances { #expect(connects(entrance.address.port)) }
      }
      offering.cancel()
      #expect(try await offering.value == nil)
    }
  }

  @Test func `addresses other than those handed over are refused, and nobody there means no take-over`() async throws {
    try await withHome { home in
      #expect(try await TakeOver.ask(in: home, patience: 60_000) == nil)
      let owner = try sockets(home)
      let offer = HandOverOffer(parts: owner.parts, control: owner.control, logger: logger)
      let offering = Task { try await offer.run() }
      let taken = try #require(try await TakeOver.ask(in: home, patience: 60_000))
      let (entrance, admin) = (owner.entrances[0].address.port, owner.admin.address.port)
      try taken.check(ListenOptions.parse(["--gateway-port", "0", "--admin-port", "\(admin)"]))
      let other = try ListenOptions.parse(["--gateway-port", "\(entrance)", "--admin-port", "\(admin)"])
      #expect { try taken.check(other) } throws: { "\($0)".contains("\(owner.entrances[1].address)") }
      offering.cancel()
      #expect(try await offering.value == nil)
      #expect(throws: HandOverFault.self) {
        _ = try ListeningSocket(adopting: Descriptor(open("/dev/null", O_RDONLY)))
      }
    }
  }

  @Test func `an owner that is killed in the middle leaves the sockets to the newcomer`() async throws {
    try await withHome { home in
      var owner: GatewaySockets? = try sockets(home)
      let port = try #require(owner?.entrances.first?.address.port)
      let taken: TakeOver
      do {
        let offer = HandOverOffer(
          parts: try #require(owner).parts, control: try #require(owner).control, logger: logger)
        let offering = Task { try await offer.run() }
        taken = try #require(try await TakeOver.ask(in: home, patience: 60_000))
        offering.cancel()
        #expect(try await offering.value == nil)
      }
      owner?.letGo()
      owner = nil
      try await taken.complete()
      #expect(connects(port))
    }
  }

  @Test func `a successor is started by the name this process was started by`() {
    #expect(
      Successor.words(["/opt/now/apus", "gateway", "--name", "a"], executable: "/opt/7/apus")
        == ["/opt/now/apus", "gateway", "--name", "a", "--take-over"])
    #expect(
      Successor.words(["apus", "gateway", "--take-over", "--name", "a"], executable: "/usr/bin/apus")
        == ["/usr/bin/apus", "gateway", "--name", "a", "--take-over"])
  }
}
