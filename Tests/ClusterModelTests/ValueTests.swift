import ClusterModel
import ClusterTestSupport
import Testing

@Suite("Values")
struct ValueTests {
  @Test(
    "quantities are exact",
    arguments: [
      ("128Mi", 134_217_728), ("1.5G", 1_500_000_000), ("500m", 1), ("2", 2), ("0", 0), ("1Ki", 1024), ("3k", 3000),
    ] as [(String, Int64)])
  func quantity(text: String, value: Int64) {
    #expect(Quantity(text)?.value == value)
    #expect(Quantity(text)?.description == text)
  }

  @Test(
    "what is no quantity is refused",
    arguments: ["128MB", "", "-1", "1e3", ".5", "5.", "Mi", "1 Gi", "NaN", "9999999T"])
  func noQuantity(text: String) { #expect(Quantity(text) == nil) }

  @Test("bytes are written in the largest exact unit")
  func quantityOfBytes() {
    #expect(Quantity(bytes: 128 << 20).description == "128Mi")
    #expect(Quantity(bytes: 1500).description == "1500")
    #expect(Quantity(bytes: 5 << 30).description == "5Gi")
    #expect(Quantity(milliCores: 2500).description == "2500m")
  }

  @Test(
    "durations add their parts",
    arguments: [("30s", 30_000), ("1m30s", 90_000), ("500ms", 500), ("2h", 7_200_000), ("1.5s", 1500)]
      as [(String, Int64)])
  func span(text: String, milliseconds: Int64) { #expect(TimeSpan(text)?.milliseconds == milliseconds) }

  @Test("what is no duration is refused", arguments: ["", "30", "s", "30 s", "-1s", "1x", "1..5s"])
  func noSpan(text: String) { #expect(TimeSpan(text) == nil) }

  @Test("times are written and read back to the nanosecond")
  func timestamps() {
    var generator = SeededGenerator(seed: 11)
    for _ in 0..<10_000 {
      let time = Timestamp(
        nanoseconds: Int64.random(in: -2_000_000_000_000_000_000...8_000_000_000_000_000_000, using: &generator))
      #expect(Timestamp(time.text(digits: 9)) == time)
    }
    #expect(Timestamp(milliseconds: 0).description == "1970-01-01T00:00:00Z")
    #expect(Timestamp("2026-11-21T02:10:04.123Z")?.text(digits: 9) == "2026-11-21T02:10:04.123000000Z")
    #expect(Timestamp("2024-02-29T23:59:59+02:00")?.description == "2024-02-29T21:59:59Z")
    #expect(Timestamp("2026-13-01T00:00:00Z") == nil)
    #expect(Timestamp("2026-11-21T02:10:04") == nil)
    // The farthest moments are texts, and those that are moved to are times.
    #expect(Timestamp(nanoseconds: .min).description == "1677-09-21T00:12:43.145224192Z")
    #expect(Timestamp(nanoseconds: .max).text(digits: 0) == "2262-04-11T23:47:16Z")
    for milliseconds in [Int64.min, -9_500_000_000_000, 9_500_000_000_000, .max] {
      for start in [
        Timestamp(nanoseconds: -9_000_000_000_000_000_000), Timestamp(nanoseconds: 9_000_000_000_000_000_000),
      ] {
        let moved = start.advanced(milliseconds: milliseconds)
        #expect(Timestamp(moved.description) == moved && (moved < start) == (milliseconds < 0))
      }
    }
  }

  @Test("identifiers carry their time and sort by it")
  func identifiers() {
    var generator = SeededGenerator(seed: 3)
    let early = UUIDv7.make(at: Timestamp(milliseconds: 1_000), using: &generator)
    let late = UUIDv7.make(at: Timestamp(milliseconds: 2_000), using: &generator)
    #expect(early < late)
    #expect(early.count == 36 && Array(early)[14] == "7")
  }

  @Test("a merge patch follows RFC 7386's examples")
  func mergePatch() throws {
    let cases = [
      (#"{"a":"b"}"#, #"{"a":"c"}"#, #"{"a":"c"}"#), (#"{"a":"b"}"#, #"{"b":"c"}"#, #"{"a":"b","b":"c"}"#),
      (#"{"a":"b"}"#, #"{"a":null}"#, #"{}"#), (#"{"a":["b"]}"#, #"{"a":"c"}"#, #"{"a":"c"}"#),
      (#"{"a":{"b":"c"}}"#, #"{"a":{"b":"d","c":null}}"#, #"{"a":{"b":"d"}}"#),
      (#"{"e":null}"#, #"{"a":1}"#, #"{"a":1,"e":null}"#), (#"[1,2]"#, #"{"a":"b","c":null}"#, #"{"a":"b"}"#),
      (#"{}"#, #"{"a":{"bb":{"ccc":null}}}"#, #"{"a":{"bb":{}}}"#),
    ]
    for (target, patch, result) in cases {
      let merged = try JSONValue(bytes: target.utf8).merging(patch: JSONValue(bytes: patch.utf8))
      #expect(try merged == JSONValue(bytes: result.utf8), "\(target) + \(patch)")
    }
  }

  @Test("selectors match as Kubernetes' do")
  func selectors() throws {
    let labels = ["app": "web", "tier": "gold"]
    for text in [
      "", "app=web", "app==web,tier=gold", "app!=db", "tier in (gold,iron)", "tier notin (iron)", "app", "!zone",
      "zone!=b",
    ] {
      #expect(try LabelSelector(parsing: text).matches(labels), "\(text)")
    }
    for text in ["app=db", "zone", "!app", "tier notin (gold)", "zone in (a)"] {
      #expect(try !LabelSelector(parsing: text).matches(labels), "\(text)")
    }
    #expect(throws: SelectorError.self) { try LabelSelector(parsing: "app in web") }
    #expect(throws: SelectorError.self) { try FieldSelector(parsing: "spec.x=1", supported: ["metadata.name"]) }
  }

  @Test("parsers of text take anything without a trap")
  func fuzz() {
    var generator = SeededGenerator(seed: Soak.seed("values"))
    let seeds = ["128Mi", "1m30s", "2026-11-21T02:10:04.123Z", "a in (b,c),!d,e!=f", "metadata.name=x", "h.py:handle"]
      .map { Array($0.utf8) }
    for _ in 0..<Soak.rounds(100_000) {
      var bytes = seeds[Int.random(in: 0..<seeds.count, using: &generator)]
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        let at = Int.random(in: 0...bytes.count, using: &generator)
        if Bool.random(using: &generator), at < bytes.count {
          bytes.remove(at: at)
        } else {
          bytes.insert(UInt8.random(in: 0...255, using: &generator), at: at)
        }
      }
      let text = String(decoding: bytes, as: UTF8.self)
      _ = Quantity(text)
      _ = TimeSpan(text)
      _ = Timestamp(text)
      _ = try? LabelSelector(parsing: text)
      _ = try? FieldSelector(parsing: text, supported: ["metadata.name"])
      _ = Schema.Rule.handler.check(text)
      _ = Schema.Rule.dnsLabel.check(text)
    }
  }
}
