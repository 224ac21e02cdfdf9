import ClusterTestSupport
import Testing

@testable import ClusterModel

/// Secrets do not reach the disk: what is masked, and what is left alone.
@Suite("Log masks")
struct LogMasksTests {
  @Test(arguments: [
    ("login password=hunter2 ok", "login password=*** ok"),
    ("DB_PASSWORD: 'hunter2', next", "DB_PASSWORD: '***', next"),
    (#"{"api-key":"abc","n":1}"#, #"{"api-key":"***","n":1}"#),
    (#"sent {\"client_secret\": \"a b\"}"#, #"sent {\"client_secret\": \"*** b\"}"#),
    ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
    ("authorization=Basic YWRtaW46YWRtaW4=", "authorization=Basic ***"),
    ("curl with Bearer 0123456789abcdef0", "curl with Bearer ***"),
    ("to postgres://shop:pa55@db:5432/x?y=1", "to postgres://shop:***@db:5432/x?y=1"),
    ("token ghp_0123456789abcdefABCDEF0123456789abcd used", "token *** used"),
    ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl!", "jwt ***!"),
    ("-----BEGIN RSA PRIVATE KEY-----MIIE…", "***"),
    ("password=a&secret=b", "password=***&secret=***"),
  ])
  func `what is nothing but a secret is masked`(_ text: String, _ masked: String) {
    #expect(LogMasks.standard.masked(text) == masked)
    var text = text
    let mayHold = text.withUTF8 { LogMasks.standard.mayHold(UnsafeRawBufferPointer($0)) }
    #expect(mayHold)
  }

  @Test(arguments: [
    "order 7 paid in 12 ms", "tokens: 512", "a basic authentication scheme", "Bearer of bad news", "http://host:80/a@b",
    "password reset mail sent", "password=", "password: null", "secretary: ann", "x_ y- =: ::", "GET /a?b=c HTTP/1.1",
    "eyJust a word", "sk_live_short", "path://a/b:c@d", "the secret is out", "",
  ])
  func `what only looks alike is left as it is`(_ text: String) {
    #expect(LogMasks.standard.masked(text) == text)
  }

  @Test func `fields are masked by their name and by what they hold`() {
    var record = LogRecord(
      time: Timestamp(nanoseconds: 1), namespace: "n", stream: .stdout, msg: "x",
      fields: [
        "db.password": .string("p"), "user": .string("ann"), "pin_secret": .int(7), "url": .string("redis://a:b@c"),
        "list": .array([.string("Bearer 0123456789"), .object(["api_key": .string("k"), "n": .int(1)])]),
        "is_secret": .bool(true),
      ])
    LogMasks.standard.apply(to: &record)
    #expect(
      record.fields == [
        "db.password": .string("***"), "user": .string("ann"), "pin_secret": .string("***"),
        "url": .string("redis://a:***@c"),
        "list": .array([.string("Bearer ***"), .object(["api_key": .string("***"), "n": .int(1)])]),
        "is_secret": .bool(true),
      ])
    LogMasks.off.apply(to: &record)
    #expect(LogMasks.off.masked("password=x") == "password=x")
  }

  @Test func `an operator's patterns come beside the standard ones, and a wrong one is told with its line`() throws {
    let masks = try LogMasks(file: "# cards\n[0-9]{4}(-[0-9]{4}){3}\n\nACME-[A-Z]+")
    #expect(masks.masked("card 1234-5678-9012-3456, ACME-XY and password=x") == "card ***, *** and password=***")
    #expect(masks.masked("ACME-A\u{0}ACME-B") == "***\u{0}***")
    #expect(masks.masked(String(repeating: "ACME-A ", count: 3000)).count < 8000)
    for (file, line) in [("ok\n(open", 2), ("a*", 1), (String(repeating: "x", count: 600), 1)] {
      let fault = #expect(throws: LogMaskFault.self) { try LogMasks(file: file) }
      #expect(fault?.line == line)
    }
  }

  @Test(arguments: ["eyJ.", "eyJ-", "eyJ+eyJ~."])
  func `each byte of a line full of beginnings of tokens is looked at twice at most`(_ piece: String) {
    let bytes = Array(String(repeating: piece, count: 65_536).utf8)
    var run = MaskScanner.TokenRun()
    let secrets = bytes.withUnsafeBytes { MaskScanner.secrets($0, &run) }
    let looked = run.looked
    #expect(secrets.isEmpty)
    #expect(looked >= bytes.count - 4 && looked <= 2 * bytes.count)
  }

  @Test func `the dots of a web token are its own, however many of its kind stand before it`() {
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
    for count in [0, 1, 2, 1000] {
      let before = String(repeating: "eyJ.", count: count)
      #expect(LogMasks.standard.masked("\(before)\(token)! \(token)") == "\(before)***! ***")
      // Another dot makes it something else, from its second part on, too.
      #expect(LogMasks.standard.masked("\(before)\(token).x.y") == "\(before)\(token).x.y")
    }
  }

  @Test func `no bytes trap the scanner, and what it masked once it leaves alone`() {
    var random = SeededGenerator(seed: 5)
    let pieces = [
      "password", "=", ":", "//", "@", "eyJ", ".", "Bearer ", "-----BEGIN ", "ghp_", " ", "\"", "\\", "x1", "ü", "***",
    ]
    for _ in 0..<20_000 {
      let text = (0..<Int.random(in: 0...8, using: &random)).map { _ in pieces.randomElement(using: &random) ?? "" }
        .joined()
      let once = LogMasks.standard.masked(text)
      #expect(LogMasks.standard.masked(once) == once, "\(text) → \(once)")
    }
  }
}
