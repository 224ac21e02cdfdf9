import ClusterAPI
import ClusterTestSupport
import NIOCore
import Testing

@testable import Gateway

/// The readers of heads and bodies on what is nearly right: no trap, pieces do not matter, and what passes is one message.
@Suite struct ParserFuzzTests {
  private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self).debugDescription }

  @Test
  func `mutated requests: what passes is framed in one way, and what a pod gets is one request that says the same`()
    async
  {
    let seed = Soak.seed("requests")
    var grammar = FuzzGrammar(random: SeededGenerator(seed: seed))
    let attacks = (SmugglingSet.heads + SmugglingSet.bodies).map(\.bytes).filter { $0.count < 1000 }
    var (read, forwarded) = (0, 0)
    for await _ in Soak.repeats(60_000) {
      var bytes = grammar.chance(8) ? attacks.randomElement(using: &grammar.random) ?? [] : grammar.request()
      if grammar.chance(2) { mutate(&bytes, &grammar.random) }
      let whole = ReadHead(bytes)
      let cut = ReadHead(bytes, pieces: Int.random(in: 1...(grammar.chance(2) ? 9 : 400), using: &grammar.random))
      let about = "seed \(seed): \(Self.text(bytes.prefix(2000) + []))"
      // Beyond the bound the one fault is told or the other, by what was read first.
      let mayDiffer = bytes.count > GatewayLimits.headBytes && whole.refusal != nil && cut.refusal != nil
      #expect((whole.refusal?.code == cut.refusal?.code || mayDiffer) && whole.length == cut.length, "\(about)")
      #expect(whole.refusal != nil || whole.length == nil || whole.head == cut.head, "\(about)")
      guard whole.refusal == nil, whole.length != nil else { continue }
      read += 1
      Self.checkFraming(whole, about)
      if Self.checkForwarded(whole, about) { forwarded += 1 }
    }
    #expect(read > 5000 && forwarded > 2000, "too little passes to mean anything: \(read), \(forwarded)")
    print("requests: \(read) read, \(forwarded) of them sent on")
  }

  private static func checkFraming(_ read: ReadHead, _ about: String) {
    let kinds = read.lines.fields.map(\.kind)
    let lengths = kinds.count { $0 == .contentLength }
    let codings = kinds.count { $0 == .transferEncoding }
    switch read.head.framing {
    case .none: #expect(lengths == 0 && codings == 0, "\(about)")
    case .length(let length): #expect(lengths == 1 && codings == 0 && length >= 0, "\(about)")
    case .chunked: #expect(lengths == 0 && codings == 1 && !read.head.isHTTP10, "\(about)")
    case .close: Issue.record("a request has a length: \(about)")
    }
    #expect(kinds.count { $0 == .host } == 1 || read.head.isHTTP10, "\(about)")
    #expect(!read.head.expectsContinue || read.head.framing != .none, "\(about)")
  }

  /// Reads what a pod would get; false when nothing would be sent.
  private static func checkForwarded(_ read: ReadHead, _ about: String) -> Bool {
    let sent = read.forwardedBytes()
    guard !sent.isEmpty else { return false }
    // The deadline, which ends the head, is written when a pod is chosen.
    let bytes = sent + [13, 10]
    let again = ReadHead(bytes)
    let about = "\(about) became \(text(bytes))"
    // Ours come on top of a hundred.
    if again.refusal?.code == .headTooLarge { return false }
    #expect(again.refusal == nil && again.length == bytes.count, "\(about): \(String(describing: again.refusal))")
    guard again.length == bytes.count else { return false }
    #expect(again.head.framing == read.head.framing && again.head.isHEAD == read.head.isHEAD, "\(about)")
    #expect(!again.head.expectsContinue && again.head.keepAlive && !again.head.isHTTP10, "\(about)")
    again.bytes.withUnsafeBytes { now in
      read.bytes.withUnsafeBytes { before in
        #expect(again.head.method.text(now) == read.head.method.text(before), "\(about)")
        #expect(again.head.host.text(now) == read.head.host.text(before), "\(about)")
        for kind in [FieldName.callID, .traceparent, .forwarded, .forwardedFor, .host] {
          #expect(
            again.lines.fields.count { $0.kind == kind } == 1, "\(kind) stands there more or less than once: \(about)")
        }
        let wrong = again.lines.fields.filter { field in
          switch field.kind {
          case .platform, .disguised, .hopByHop, .expect: true
          case .connection, .upgrade: read.head.upgrade == nil
          default: false
          }
        }
        #expect(wrong.isEmpty, "\(wrong.map { $0.name.text(now) }) passed: \(about)")
        if let upgrade = read.head.upgrade { _ = ByteScan.starts(upgrade.of(before), "h2") }
      }
    }
    return true
  }

  @Test func `mutated answers: what passes is framed in one way, and no field of a connection reaches the client`()
    async
  {
    let seed = Soak.seed("answers")
    var grammar = FuzzGrammar(random: SeededGenerator(seed: seed))
    var passed = 0
    for await _ in Soak.repeats(40_000) {
      var bytes = grammar.answer()
      if grammar.chance(2) { mutate(&bytes, &grammar.random) }
      let toHEAD = grammar.chance(4)
      let whole = ReadAnswer(bytes, toHEAD: toHEAD)
      let cut = ReadAnswer(bytes, toHEAD: toHEAD, pieces: Int.random(in: 1...9, using: &grammar.random))
      let about = "seed \(seed): \(Self.text(bytes.prefix(2000) + [])) toHEAD \(toHEAD)"
      #expect(whole.failed == cut.failed && whole.head == cut.head && whole.length == cut.length, "\(about)")
      guard let head = whole.head else { continue }
      passed += 1
      #expect((100...599).contains(head.status), "\(about)")
      if toHEAD || head.status < 200 || head.status == 204 || head.status == 304 {
        #expect(head.framing == .none, "\(about)")
      } else {
        #expect(head.framing != .none && (head.framing != .close || !head.keepAlive), "\(about)")
      }
      let fields = Self.passed(whole, head)
      let ours = HeadLines.all(fields + [13, 10])
      #expect(ours != nil, "what passes is no lines of a head: \(about)")
      let wrong = (ours ?? []).filter { !HeaderRules.passesToClient($0) }
      #expect(wrong.isEmpty, "\(wrong) passed: \(about)")
    }
    #expect(passed > 5000, "too little passes to mean anything: \(passed)")
    print("answers: \(passed) read")
  }

  /// The fields of an answer that a client would get.
  private static func passed(_ answer: ReadAnswer, _ head: ResponseHead) -> [UInt8] {
    var out = ByteBuffer()
    answer.bytes.withUnsafeBytes { all in
      out.write(room: all.count + 2) { writer in
        HeaderRules.copy(
          answer.lines, all, into: &writer, namesFields: head.namesFields, passes: HeaderRules.passesToClient)
      }
    }
    return Array(out.readableBytesView)
  }

  @Test func `mutated bodies: what is right comes out as it is, pieces do not matter, and nothing is read twice`() async
  {
    let seed = Soak.seed("bodies")
    var grammar = FuzzGrammar(random: SeededGenerator(seed: seed))
    let attacks = SmugglingSet.bodies.map { attack in
      let text = attack.bytes
      let end = (0..<text.count - 3).first { Array(text[$0..<$0 + 4]) == [13, 10, 13, 10] } ?? 0
      return Array(text[(end + 4)...])
    }.filter { $0.count < 1000 }
    var ended = 0
    for await _ in Soak.repeats(60_000) {
      let made = grammar.chunks()
      var bytes = grammar.chance(8) ? attacks.randomElement(using: &grammar.random) ?? [] : made.text
      if grammar.chance(2) { mutate(&bytes, &grammar.random) }
      let framing: Framing =
        switch Int.random(in: 0..<12, using: &grammar.random) {
        case 0: .length(Int64.random(in: 0...60, using: &grammar.random))
        case 1: .close
        case 2: .none
        default: .chunked
        }
      let whole = ReadBody(framing, bytes)
      let cut = ReadBody(framing, bytes, pieces: Int.random(in: 1...5, using: &grammar.random))
      let about = "seed \(seed): \(framing) \(bytes)"
      let reader = BodyReader(framing)
      #expect(reader.isEnded == [.none, .length(0)].contains(framing), "\(about)")
      #expect(reader.endsWithConnection == (framing == .close), "\(about)")
      let escaped = bytes.firstIndex { $0 < 0x20 || $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "\\") }
      #expect(bytes.withUnsafeBytes { ByteScan.jsonEscape($0, from: 0) } == escaped ?? bytes.count, "\(about)")
      #expect(whole.ended == cut.ended && whole.failed == cut.failed, "\(about)")
      #expect(whole.failed || whole == cut, "\(about)")
      guard !whole.failed else { continue }
      switch framing {
      case .none: #expect(whole.bytes.isEmpty, "\(about)")
      case .close: #expect(whole.bytes == bytes && !whole.ended, "\(about)")
      case .length(let length):
        #expect(
          whole.bytes == Array(bytes.prefix(Int(length))) && whole.rest == bytes.count - whole.bytes.count, "\(about)")
      case .chunked:
        guard whole.ended else { continue }
        ended += 1
        if bytes == made.text { #expect(whole.bytes == made.bytes && whole.rest == 0, "\(about)") }
        let kinds = HeadLines.all(Array((whole.trailers ?? "").utf8) + [13, 10])
        #expect(kinds?.allSatisfy { $0 == .other } ?? false, "trailers that may not pass: \(about)")
      }
    }
    #expect(ended > 5000, "too little ends to mean anything: \(ended)")
    print("bodies: \(ended) read to their end")
  }
}

extension HeadLines {
  /// What kinds of fields stand in lines that are nothing else; nil when they are not.
  fileprivate static func all(_ bytes: [UInt8]) -> [FieldName]? {
    var lines = HeadLines(hasStartLine: false)
    let end = bytes.withUnsafeBytes { try? lines.read($0) }
    return end == bytes.count ? lines.fields.map(\.kind) : nil
  }
}

/// What a reader made of an answer's head.
struct ReadAnswer {
  var head: ResponseHead?
  var lines = HeadLines(hasStartLine: true)
  let bytes: [UInt8]
  /// Nil when the head is not complete.
  var length: Int?
  var failed = false

  /// Reads a head whose bytes come in pieces of one size.
  init(_ bytes: [UInt8], toHEAD: Bool, pieces: Int = .max) {
    self.bytes = bytes
    var end = 0
    while length == nil, !failed, end < bytes.count {
      end = bytes.count - end <= pieces ? bytes.count : end + pieces
      bytes.withUnsafeBytes { all in
        do throws(ParseFailure) {
          guard let found = try lines.read(UnsafeRawBufferPointer(rebasing: all[..<end])) else { return }
          length = found
          head = try ResponseHead(lines, all, toHEAD: toHEAD)
        } catch { failed = true }
      }
    }
  }
}
