import Testing

@testable import ApusFunction

@Suite struct ChunkedDecoderTests {
  @Test("a body is the same however it is cut", arguments: 1...12)
  func cut(_ size: Int) throws {
    let bytes = Array("5;a=b\r\nhello\r\n1\r\n,\r\n6 \r\n world\r\n0\r\nT: v\r\n\r\nGET /".utf8)
    var decoder = ChunkedDecoder(limit: 12)
    var (buffer, body): ([UInt8], [UInt8]) = ([], [])
    var (at, done) = (0, false)
    while at < bytes.count, !done {
      buffer += bytes[at..<min(bytes.count, at + size)]
      at += size
      done = try decoder.feed(&buffer, into: &body)
    }
    #expect(done)
    #expect(String(decoding: body, as: UTF8.self) == "hello, world")
    #expect(String(decoding: buffer + bytes[min(at, bytes.count)...], as: UTF8.self) == "GET /")
  }

  @Test(
    "a wrong body is refused",
    arguments: [
      "x\r\n", "-1\r\n", "\r\n", "5\nhello", "1\r\nab\r\n", "D\r\n", "0\r\nbad trailer\r\n\r\n", "ffffffffffffffff\r\n",
    ])
  func refused(_ text: String) {
    var decoder = ChunkedDecoder(limit: 12)
    var (buffer, body): ([UInt8], [UInt8]) = (Array(text.utf8), [])
    #expect(throws: BadRequest.self) { _ = try decoder.feed(&buffer, into: &body) }
  }
}
