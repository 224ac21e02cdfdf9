import ClusterTestSupport
import Foundation
import Testing

@testable import LogIndex

@Suite struct RecordFuzzTests {
  @Test func `100,000 mutations of records decode or throw, as Foundation judges them`() throws {
    let seed = Soak.seed("records")
    let rounds = Soak.rounds(100_000)
    var random = SeededGenerator(seed: seed)
    var accepted = 0
    let pieces = [
      "{", "}", "[", "]", "\"", "\\", "\\u", "\\ud83d", ":", ",", "null", "-", "1e", "\u{0}", "é", "fields", "time",
      " ",
    ]
    for round in 0..<rounds {
      var bytes = randomLine(&random)
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        mutate(&bytes, pieces, &random)
      }
      guard let record = try? IndexedRecord(bytes) else { continue }
      accepted += 1
      for field in ReservedField.allCases { _ = record.reservedBytes(field) }
      for field in record.fields { _ = (record.key(field), record.text(field.value)) }
      // Half a surrogate pair and a number beyond every double are JSON's grammar and are taken; Foundation refuses them.
      let text = String(decoding: bytes, as: UTF8.self)
      if round % 50 == 0, !text.contains(/\\u[dD][89a-fA-F]/), !text.contains(/[0-9][eE]\+?[0-9]{2,}/) {
        let judged = try? JSONSerialization.jsonObject(with: Data(record.bytes))
        #expect(judged is [String: Any], "seed \(seed), round \(round): \(text)")
      }
    }
    #expect(
      accepted > rounds / 100 && accepted < rounds / 100 * 99, "mutations must both pass and fail, \(accepted) passed")
  }

  private func mutate(_ bytes: inout [UInt8], _ pieces: [String], _ random: inout SeededGenerator) {
    guard !bytes.isEmpty else { return }
    let place = Int.random(in: 0..<bytes.count, using: &random)
    switch Int.random(in: 0..<5, using: &random) {
    case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
    case 1: bytes.remove(at: place)
    case 2: bytes.insert(contentsOf: random.pick(pieces).utf8, at: place)
    case 3: bytes.removeSubrange(place..<min(bytes.count, place + 9))
    default: bytes.insert(contentsOf: bytes[place..<min(bytes.count, place + 20)], at: place)
    }
  }
}
