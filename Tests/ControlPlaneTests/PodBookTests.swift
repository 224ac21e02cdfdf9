import ClusterModel
import ClusterTestSupport
import Testing

@testable import ControlPlane

/// The book's sums beside the same sums counted again from its pods.
@Suite("Pod book")
struct PodBookTests {
  private static func identity(_ number: Int, _ random: inout SeededGenerator) throws -> PodIdentity {
    let cpu = Int.random(in: 1...4, using: &random) * 100
    let object = try JSONValue(
      bytes: Array(
        """
        {"apiVersion": "apus.dev/v1", "kind": "Function", "metadata": {"name": "f"},
         "spec": {"runtime": "python", "handler": "h.py:h", "resources": {"cpu": "\(cpu)m"}}}
        """.utf8))
    let template = try Admission.admit(function: object).get().spec
    let function = "f\(number % 3)"
    return PodIdentity(
      uid: "u\(number)", name: "p\(number)", namespace: "default", function: function, functionUID: "",
      revision: "\(function)-\(Int.random(in: 1...2, using: &random))", template: template, number: 1,
      wantedAt: Timestamp(nanoseconds: 0))
  }

  @Test("sums are what counting every pod again gives, whatever changes in which order")
  func sums() throws {
    var random = SeededGenerator(seed: 20_261_122)
    var book = PodBook()
    for _ in 0..<4000 {
      let number = Int.random(in: 0..<30, using: &random)
      if book["u\(number)"] == nil {
        book["u\(number)"] = PodRecord(
          try Self.identity(number, &random), detail: PodDetail(function: "", revision: "", life: .wanted))
      } else if Int.random(in: 0..<8, using: &random) == 0 {
        book["u\(number)"] = nil
      } else {
        book["u\(number)"]?.detail.life = PodLife.allCases.randomElement(using: &random) ?? .gone
        book["u\(number)"]?.node = ["n1", "n2", nil].randomElement(using: &random) ?? nil
        book["u\(number)"]?.unused = Bool.random(using: &random) ? ["g"] : []
      }
      Self.check(book)
    }
  }

  private static func check(_ book: PodBook) {
    for key in ["default/f0", "default/f1", "default/f2"] {
      let pods = book.values.filter { $0.functionKey == key }
      var sums = PodBook.FunctionSums()
      sums.ready = pods.count { $0.detail.life == .ready }
      sums.unused = pods.count { !$0.unused.isEmpty }
      sums.counting = Dictionary(grouping: pods.filter(\.counts), by: \.revision).mapValues(\.count)
      sums.byNode = Dictionary(grouping: pods.filter(\.holdsResources)) { $0.node ?? "" }.mapValues(\.count)
      #expect(book.sums(of: key) == sums)
      #expect(sums.wanted == pods.count(where: \.counts))
      #expect(book.uids(of: key) == Set(pods.map(\.uid)))
    }
    for node in ["n1", "n2"] {
      let pods = book.values.filter { $0.node == node && $0.holdsResources }
      var use = NodeUse()
      use.pods = pods.count
      use.milliCPU = pods.reduce(0) { $0 + $1.template.resources.cpu.milli }
      use.memory = pods.reduce(0) { $0 + $1.template.resources.memory.value }
      use.startsInFlight = pods.count { $0.detail.life == .placed || $0.detail.life == .starting }
      #expect(book.use(of: node) == use)
    }
    #expect(book.startsInFlight == book.use(of: "n1").startsInFlight + book.use(of: "n2").startsInFlight)
  }
}
