import ApusFunction

/// Answers the size and three check sums of the posted body.
@main
struct Digest: FunctionHandler {
  func handle(_ event: Event, _ context: Context) async throws -> Response {
    guard event.method == "POST" || event.method == "PUT" else {
      return Response(json: #"{"error":"post the bytes to digest"}"#, status: 405, headers: ["Allow": "POST, PUT"])
    }
    var sha = SHA256()
    sha.update(event.body)
    let sums = [
      ("sha256", hexadecimal(sha.finish())), ("crc32", hexadecimal(CRC32.of(event.body))),
      ("adler32", hexadecimal(Adler32.of(event.body))),
    ]
    context.log.info("digested", ["bytes": .int(event.body.count)])
    let fields = sums.map { "\"\($0.0)\":\"\($0.1)\"" }.joined(separator: ",")
    return Response(json: "{\"bytes\":\(event.body.count),\(fields)}")
  }
}

func hexadecimal(_ bytes: [UInt8]) -> String {
  let digits = Array("0123456789abcdef".utf8)
  var out: [UInt8] = []
  for byte in bytes { out += [digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
  return String(decoding: out, as: UTF8.self)
}

func hexadecimal(_ word: UInt32) -> String {
  hexadecimal([24, 16, 8, 0].map { UInt8(truncatingIfNeeded: word >> UInt32($0)) })
}
