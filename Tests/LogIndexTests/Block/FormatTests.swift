import Foundation
import Testing

@testable import LogIndex

/// docs/log-format.md, version 1: a file that was written once must be readable for ever.
@Suite struct FormatTests {
  /// The records of the kept file; they must never change.
  private var lines: [[UInt8]] {
    var lines: [[UInt8]] = []
    for index in 0..<40 {
      let call = "6cbc36de-39a3-4e3c-91c4-daec1b28\(1_000 + index / 4)"
      let msg = "order \(index) of ord_8f3a12\(10 + index) took \(index).5 ms, call \(call)"
      let fields = "\"status\":\(200 + index % 5),\"took\":\(index).250,\"ok\":\(index % 2 == 0)"
      let function = index % 3 == 0 ? "pay" : "order"
      let time = day + Int64(index) * 1_000_000_007
      lines.append(
        line(
          msg, time: time, function: function, level: index % 10 == 0 ? "error" : "info", call: call, fields: fields))
    }
    lines.append(Array(#" { "time":"2026-11-20T00:00:00Z" , "x":[1, 2], "msg":"odd" }"#.utf8))
    return lines
  }

  @Test func `a file of version 1 that is kept here is read`() throws {
    let file = try #require(Data(base64Encoded: keptBlock, options: .ignoreUnknownCharacters))
    let block = try Block(bytes: [UInt8](file))
    #expect(block.workers == ["node-1": 41])
    var found = Array(repeating: [UInt8](), count: 41)
    for row in 0..<block.rowCount { found[Int(try block.id(row)) - 1] = try block.record(row) }
    #expect(found == lines)
    let search = try BlockSearch(block)
    #expect(try search.matches(try LogQuery.parse("level:error took").filter, .all(41)).count == 4)
  }

  @Test func `this program still writes files that it reads`() throws {
    let file = try blockFile(lines, workers: ["node-1": 41])
    // APUS_KEEP_BLOCK=FILE writes the file to keep when the version rises.
    if let path = ProcessInfo.processInfo.environment["APUS_KEEP_BLOCK"] {
      try Data(file).base64EncodedData(options: .lineLength76Characters).write(to: URL(fileURLWithPath: path))
    }
    let block = try Block(bytes: file)
    #expect(block.rowCount == 41)
    #expect(try BlockHeader(file[...], fileBytes: file.count) == block.header)
  }

  @Test func `another version is refused by name`() throws {
    var file = try blockFile(lines)
    file[8] = 2
    #expect(throws: BlockFault("its version is 2 and this program reads version 1")) { try Block(bytes: file) }
  }
}

private let keptBlock = """
  QVBVU0xPRzEBAAAAKQAAACkAAAAAAAAAZjgAAAAAAAAAAKdExZfpGBHHO1nOl+kYAQAAAAAAAAAD
  AgAAAAAAAAkAAAAAAAAAoAAAAAAAAADAAAAAAAAAAFxKzgZgAQAAAAAAAIEBAAAAAAAACuC1EeEC
  AAAAAAAAVgIAAAAAAACzePZ2NwUAAAAAAAAxAAAAAAAAADFgSgUAAAAAVFQW/BAVYAgCO1ALhWSB
  BAjAEiVMDKwVJhFZCFCwQhh+BBKCIAUoSKYEpg4ASQoiQwAELMSqBtLSRQYrAQ9HkaGLOBz2KhgR
  xCCeiRS5BerZQBBk2SHxLomKbB/SAU3MCVgoI0w5uCByhBxlIiFTIwpigoxgXBOvhBGBaIgGBA0w
  CA6w2PDqZ9BIGHP6BMGDbOkPuECWIQLIR4UEVflU9JDF8MpOBlOlLEcpMIojRz4pAa7Rf8ctF0XK
  HapNCBwm8nxQkT1QPWvcQBR8b592Jd35IwYbk27Z2LACXbACaeTGTRr3qUwIymkvPixpzUlnAsd1
  /gH+Ce7yU1LnbxjSpTQmbxUSVTPDm9kZoep87WZFtkcIQLCbbsywbJ0pDbzeN7npqtb1t9U8KAh7
  rCzW3XxY+o4FMQord7fs/woEKQu3vmYcwST4OZ6JhB0m/bByVctUwZRp4+5cwyweL+dVE0gyRrT9
  V8YpHIUHl66pe1Nu2F8Na0YTTHIzeH9jyimq3ASwI8R2S1O90f8HvEqMzrX5ZspdShn8CyWjtxki
  gsqIZ58qHo/qkDKE+PgEACzEtVtU62awSkiwCHguAxQBXkgLB9euafzsjL9iVn2Z186C6AoLqh9q
  vx59UTj+IG08iS4fkUn0hIdZIimSKsFTv6rdSqP2C83wM+owSOPb97rtcx3+hhYnXAlfUCkb/PG9
  eGO5HSXfRQgM0g8aJSVR4gNFT0QSQmH6Rfvh4jcdPNNHCxQaxaHRz0jy8qsi1+8+YVoWfwABAAAA
  AAAAAAAAwIGy5g6EOKakSIAJANAnQAAQAAQAAUAAEAAEAAFAABAABAABoEkgEAgEAoFAIBAIBAAA
  APz/AAAA/P9AIAAEEGy8Nt45o048kcTa7BsoEABsvDbeOaNOPJHE2uwbKBABbLw23jmjTjyRxNrs
  GygQAmy8Nt45o048kcTa7BsoEANsvDbeOaNOPJHE2uwbKBAEbLw23jmjTjyRxNrsGygQBWy8Nt45
  o048kcTa7BsoEAZsvDbeOaNOPJHE2uwbKBAHbLw23jmjTjyRxNrsGygQCGy8Nt45o048kcTa7Bso
  EAkQEAEREBABERAQAREQqol3VkQjEf7/////AQICQuGAUCwaDkhkQrFcMhpO5wMSjUomwMCQYDwk
  FczGEyKdjzoSEY86EhKPOhIUjzoSFY86EhePOhIYjzoSII86EiGPOhIjjzoSJI86EiaPOhInjzoS
  KY86EjCPOhIyjzoSM486EjWPOhI2jzoSOI86EjmPOhJBjzoSQo86EkSPOhJFjzoSR486EkiPOhIQ
  jzoSE486EhaPOhIZjzoSIo86EiWPOhIojzoSMY86EjSPOhI3jzoSQI86EkOPOhJGjzoSSQICQuGA
  UCwaDkhkQrFcMhpO5wMSjUomwMCQYDwkFczGEyKdQggGiBYOFKKFA4Vo4QhlhDJC0AdAHwB9gDgB
  awPQB4gT+CqQZcDaAPSBJgRHCYgT+CrYWVDDQJYBa4MUByMPQB9oQriIECHBUQIAgLsA7gLKCHAX
  mDqgjCBIAe6ClwamDjogUEZYmGZmZlZVY2Xm5mRhZWZlyS9KSS0qSKwE07oGQGAI5EEYmXlp+alF
  RflF+SkpaYk5xaklRaWpAA==
  """
