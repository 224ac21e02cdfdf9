import Testing

@testable import LogIndex

@Suite struct HexTextTests {
  private let id = Array("0123abcd-45ef-7890-9abc-def012345678".utf8)

  @Test func `a byte that is no digit is found at every place, and each digit is taken at each`() {
    let digits = Set("0123456789abcdef".utf8)
    for length in 1...20 {
      for place in 0..<length {
        for byte in UInt8.min...UInt8.max {
          var text = Array(id.filter { $0 != 0x2D }.prefix(length))
          text[place] = byte
          #expect(text.withUnsafeBufferPointer { HexText.isHex($0) } == digits.contains(byte), "\(byte) at \(place)")
        }
      }
    }
  }

  @Test func `a UUID has its dashes where they belong, and digits everywhere else`() {
    let digits = Set("0123456789abcdef".utf8)
    for place in id.indices {
      for byte in UInt8.min...UInt8.max {
        var text = id
        text[place] = byte
        let isDash = [8, 13, 18, 23].contains(place)
        let isRight = isDash ? byte == 0x2D : digits.contains(byte)
        #expect(text.withUnsafeBufferPointer { HexText.isUUID($0) } == isRight, "\(byte) at \(place)")
      }
    }
    for text in [id.dropLast(), id + [0x30]] {
      #expect(!Array(text).withUnsafeBufferPointer { HexText.isUUID($0) })
    }
  }
}
