import CLinux
import ClusterModel
import PodSandbox
import Testing

/// What may leave a pod: decisions over addresses and frames, without a pod.
@Suite("Egress rules")
struct EgressRuleTests {
  private func verdict(_ address: String, _ allowed: [String] = []) -> EgressNetwork.Verdict {
    EgressNetwork(allowed: allowed.compactMap { AddressRange($0) }).verdict(of: AddressRange.address(address) ?? [])
  }

  @Test func `public addresses leave, the host's and the cloud's own never do, private ones where a node opens them`() {
    for address in [
      "1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.0", "192.167.255.255", "223.255.255.255", "168.63.129.17",
    ] {
      #expect(verdict(address) == .leaves, "\(address)")
    }
    let everything = ["0.0.0.0/0"]
    for address in [
      "0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.255", "169.254.169.254", "169.254.0.1", "192.0.0.1", "192.0.0.2",
      "192.0.0.3", "192.0.0.170", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
      "168.63.129.16",
    ] {
      #expect(verdict(address) == .refused, "\(address)")
      #expect(verdict(address, everything) == .refused, "\(address) is never opened")
    }
    for address in ["10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"] {
      #expect(verdict(address) == .refused, "\(address)")
      #expect(verdict(address, everything) == .leaves, "\(address)")
    }
    #expect(verdict("10.1.2.3", ["10.1.0.0/16"]) == .leaves)
    #expect(verdict("10.2.2.3", ["10.1.0.0/16"]) == .refused)
    #expect(verdict("10.1.2.3", ["10.1.2.3"]) == .leaves)
    #expect(verdict("10.1.2.4", ["10.1.2.3"]) == .refused)
  }

  @Test func `a range that cannot be opened is refused with a reason`() {
    #expect(EgressNetwork.problem(withRange: "10.0.0.0/8") == nil)
    #expect(EgressNetwork.problem(withRange: "192.168.7.7") == nil)
    for text in ["", "ten", "10.0.0.0/33", "10.0.0/8", "fd00::/8", "127.0.0.0/8", "169.254.169.254", "224.0.0.0/4"] {
      #expect(EgressNetwork.problem(withRange: text) != nil, "\(text)")
    }
  }

  /// An IPv4 packet in an Ethernet frame.
  private func frame(
    from source: [UInt8] = [192, 0, 0, 2], to destination: [UInt8], proto: UInt8 = 6, port: UInt16 = 80,
    first: UInt8 = 0x45, fragment: UInt16 = 0, payload: Int = 20
  ) -> [UInt8] {
    let total = UInt16(20 + payload)
    var bytes: [UInt8] = [2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 8, 0]
    bytes += [first, 0, UInt8(total >> 8), UInt8(total & 255), 0, 1, UInt8(fragment >> 8), UInt8(fragment & 255)]
    bytes += [64, proto, 0, 0] + source + destination
    bytes += [0x99, 0x99, UInt8(port >> 8), UInt8(port & 255)] + [UInt8](repeating: 0, count: max(0, payload - 4))
    return bytes
  }

  private func judge(_ frame: [UInt8]) -> apus_egress_verdict {
    apus_egress_judge(frame, frame.count, nil, 0).verdict
  }

  @Test func `only whole packets of the pod's own address are looked at, and of the resolver only port 53`() {
    let far: [UInt8] = [1, 1, 1, 1]
    let dns: [UInt8] = [192, 0, 0, 3]
    #expect(judge(frame(to: far)) == APUS_EGRESS_ROUTE)
    #expect(judge(frame(to: far, proto: 17)) == APUS_EGRESS_ROUTE)
    #expect(judge(frame(to: far, proto: 47)) == APUS_EGRESS_REFUSE)
    #expect(judge(frame(from: [10, 0, 0, 1], to: far)) == APUS_EGRESS_DROP)
    #expect(judge(frame(to: far, first: 0x46)) == APUS_EGRESS_DROP)
    #expect(judge(frame(to: far, first: 0x65)) == APUS_EGRESS_DROP)
    #expect(judge(frame(to: dns, proto: 17, port: 53)) == APUS_EGRESS_PASS)
    #expect(judge(frame(to: dns, proto: 6, port: 53)) == APUS_EGRESS_PASS)
    #expect(judge(frame(to: dns, proto: 6, port: 22)) == APUS_EGRESS_REFUSE)
    #expect(judge(frame(to: dns, proto: 1, port: 53)) == APUS_EGRESS_REFUSE)
    // The first piece shows 53, a later one would be put over it.
    #expect(judge(frame(to: dns, proto: 17, port: 53, fragment: 0x2000)) == APUS_EGRESS_REFUSE)
    #expect(judge(frame(to: dns, proto: 17, port: 53, fragment: 0x0001)) == APUS_EGRESS_REFUSE)
    #expect(judge(frame(to: dns, proto: 17, port: 53, payload: 2)) != APUS_EGRESS_PASS)
    // IPv6, a tagged network, and something unknown.
    for type: [UInt8] in [[0x86, 0xdd], [0x81, 0x00], [0x88, 0xcc]] {
      var other = frame(to: far)
      other.replaceSubrange(12..<14, with: type)
      #expect(judge(other) == APUS_EGRESS_DROP)
    }
  }

  @Test func `no frame, however broken, passes to an address that is refused`() {
    var random = SystemRandomNumberGenerator()
    let refused: [[UInt8]] = [
      [127, 0, 0, 1], [169, 254, 169, 254], [10, 0, 0, 1], [192, 0, 0, 1], [255, 255, 255, 255],
    ]
    for round in 0..<20_000 {
      var bytes = frame(to: refused[round % refused.count], proto: round % 3 == 0 ? 17 : 6, port: 53)
      for _ in 0..<Int.random(in: 0..<4, using: &random) {
        // Anything but the destination itself.
        let place = Int.random(in: 12..<bytes.count, using: &random)
        if !(30..<34).contains(place) { bytes[place] = .random(in: 0...255, using: &random) }
      }
      if round % 5 == 0 { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random)) }
      let verdict = judge(bytes)
      let isARP = bytes.count > 13 && bytes[12] == 8 && bytes[13] == 6
      #expect(isARP || verdict == APUS_EGRESS_DROP || verdict == APUS_EGRESS_REFUSE, "\(bytes)")
      var answer = [UInt8](repeating: 0, count: Int(APUS_EGRESS_ANSWER_MAX))
      _ = apus_egress_answer(bytes, bytes.count, &answer)
    }
  }

  @Test func `a refusal is answered with what the pod's kernel takes for one`() {
    let asked = frame(to: [10, 0, 0, 1])
    var answer = [UInt8](repeating: 0, count: Int(APUS_EGRESS_ANSWER_MAX))
    let length = apus_egress_answer(asked, asked.count, &answer)
    #expect(length == 70)
    #expect(Array(answer[0..<6]) == [4, 4, 4, 4, 4, 4] && Array(answer[26..<30]) == [192, 0, 0, 1])
    #expect(Array(answer[30..<34]) == [192, 0, 0, 2] && Array(answer[34..<36]) == [3, 13])
    #expect(Array(answer[42..<70]) == Array(asked[14..<42]), "it holds the head of what was refused")
    #expect(answer[14..<34].withUnsafeBufferPointer { apus_egress_checksum($0.baseAddress, 20) } == 0)
    #expect(answer[34..<70].withUnsafeBufferPointer { apus_egress_checksum($0.baseAddress, 36) } == 0)
    // Never an answer to an answer.
    #expect(apus_egress_answer(frame(to: [10, 0, 0, 1], proto: 1), asked.count, &answer) == 0)
  }
}
