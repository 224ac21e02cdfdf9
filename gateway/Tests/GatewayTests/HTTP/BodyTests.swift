import ClusterTestSupport
import NIOCore
import Testing

@testable import Gateway

/// What a reader made of a body.
struct ReadBody: Equatable {
  var bytes: [UInt8] = []
  var ended = false
  var trailers: String?
  var failed = false
  /// Bytes behind the body.
  var rest = 0

  /// Reads a body that comes in pieces of one size.
  init(_ framing: Framing, _ text: [UInt8], pieces: Int = .max) {
    var reader = BodyReader(framing)
    var input = ByteBuffer()
    var next = 0
    while next < text.count, !ended, !failed {
      let end = text.count - next <= pieces ? text.count : next + pieces
      input.writeBytes(text[next..<end])
      next = end
      read(&reader, &input)
    }
    rest = input.readableBytes + text.count - next
  }

  private mutating func read(_ reader: inout BodyReader, _ input: inout ByteBuffer) {
    do throws(ParseFailure) {
      while !ended {
        switch try reader.next(&input) {
        case .more: return
        case .bytes(let part): bytes += Array(part.readableBytesView)
        case .end(let lines):
          ended = true
          trailers = lines.map { String(buffer: $0) }
        }
      }
    } catch { failed = true }
  }
}

@Suite struct BodyReaderTests {
  private func chunked(_ text: String, pieces: Int = .max) -> ReadBody {
    ReadBody(.chunked, Array(text.utf8), pieces: pieces)
  }

  @Test(arguments: [1, 2, 3, 5, 100])
  func `chunks come out as bytes, wherever they are cut`(pieces: Int) {
    let read = chunked(
      "4\r\nWiki\r\n5;a=\"b\"\r\npedia\r\n0\r\nX-A: 1\r\nContent-Length: 3\r\n\r\nNEXT", pieces: pieces)
    #expect(String(decoding: read.bytes, as: UTF8.self) == "Wikipedia")
    #expect(read.ended && read.trailers == "X-A: 1\r\n" && read.rest == 4)
    #expect(chunked("00\r\n\r\n", pieces: pieces).ended)
    let sized = ReadBody(.length(5), Array("helloGET".utf8), pieces: pieces)
    #expect(sized.bytes == Array("hello".utf8) && sized.ended && sized.rest == 3)
  }

  @Test(arguments: [
    "x\r\n", "\r\n", "-1\r\n", "+1\r\n", "0x1\r\n", " 1\r\n", "1 \r\na\r\n0\r\n\r\n", "1\na\r\n", "1\r\nab\r\n",
    "1\r\na\n0",
    "1\r\na0\r\n\r\n", "fffffffffffffffff\r\n", "1;\u{0}\r\n", "0\r\nX: a\nY: b\r\n\r\n", "0\r\n X: a\r\n\r\n",
    "1\r\r\na",
    "1;\(String(repeating: "e", count: 300))\r\n", "0\r\n\(String(repeating: "a: b\r\n", count: 101))\r\n", ";\r\n",
  ])
  func `a chunk that could be read in two ways is refused`(text: String) {
    for pieces in [1, 3, 1000] { #expect(chunked(text, pieces: pieces).failed, "in pieces of \(pieces)") }
  }
}

@Suite struct ByteTests {
  @Test func `the scan finds what the slow one finds`() {
    var random = SeededGenerator(seed: Soak.seed("scan"))
    for _ in 0..<20_000 {
      let bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ -> UInt8 in
        switch Int.random(in: 0..<12, using: &random) {
        case 0: UInt8.random(in: 0...0x20, using: &random)
        case 1: 9
        case 2: UInt8.random(in: 0x7E...0x81, using: &random)
        default: UInt8.random(in: 0x20...0xFF, using: &random)
        }
      }
      let from = Int.random(in: 0...bytes.count, using: &random)
      let slow = bytes[from...].firstIndex { ($0 < 0x20 && $0 != 9) || $0 == 0x7F } ?? bytes.count
      #expect(bytes.withUnsafeBytes { ByteScan.control($0, from: from) } == slow, "\(bytes) from \(from)")
    }
  }

  private func written(_ body: (inout ByteWriter) -> Void) -> String {
    var buffer = ByteBuffer()
    buffer.write(room: 128, body)
    return String(buffer: buffer)
  }

  @Test func `numbers are written as Swift writes them`() {
    for value in [0, 1, 9, 10, 99, 100, 12_345, Int64.max, Int64.min, -1, 999_999_999_999_999_999] {
      #expect(written { $0.put(decimal: value) } == "\(value)")
    }
    for digits in 1...18 {
      for value in [0, 1, 9, 10, 90, 99, 100, 909_090_909, 123_456_789_012_345_678] {
        let text = String(value)
        let last = String(repeating: "0", count: max(0, digits - text.count)) + text.suffix(digits)
        #expect(written { $0.put(decimal: Int64(value), digits: digits) } == last)
      }
    }
    for value in [0, 1, 15, 16, 255, 4096, Int.max] {
      #expect(written { $0.put(hex: value) } == String(value, radix: 16))
    }
    #expect(written { $0.put(decimal: 7, digits: 3) } == "007")
    #expect(written { $0.put(seconds: 1.5) } == "0.001500")
    #expect(written { $0.put(seconds: 61_000) } == "61.000000")
    #expect(written { $0.put(seconds: -1) } == "0.000000")
    #expect(written { $0.put(fixed: 1.26, digits: 1) } == "1.3")
    #expect(written { $0.put(fixed: .nan, digits: 3) } == "0.000")
  }
}
