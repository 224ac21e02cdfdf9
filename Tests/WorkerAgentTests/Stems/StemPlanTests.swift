import ClusterAPI
import ClusterModel
import ClusterTestSupport
import Testing

@testable import WorkerAgent

@Suite("How many stems wait")
struct StemPlanTests {
  private static let second: Int64 = 1_000_000_000
  private static let digest = "sha256:" + String(repeating: "0", count: 64)

  private static func kind(_ spec: JSONValue, namespace: String = "default") throws -> StemKind {
    let template = try Assignments.make(digest: Self.digest, spec: spec).spec.template
    return try #require(StemKind(template, namespace: namespace))
  }

  private static func runtime(_ name: String, env: [String: JSONValue] = [:]) -> JSONValue {
    var spec: [String: JSONValue] = ["runtime": .string(name), "env": .object(env)]
    if name == "binary" || name == "exec" { spec["command"] = .array([.string("./server")]) }
    // The assignment's own default is for a handler.
    if name == "binary" || name == "exec" || name == "swift" { spec["handler"] = .null }
    return .object(spec)
  }

  @Test func `a kind keeps one stem for an hour after its last pod, and more after a burst`() throws {
    let python = try Self.kind(Self.runtime("python"))
    var plan = StemPlan(nodeMemory: 16 << 30)
    #expect(plan.targets(at: 0, freeThousandths: 900).isEmpty)
    plan.used(python, at: 0)
    #expect(plan.targets(at: 0, freeThousandths: 900) == [python: 1])
    // One after the other is no burst.
    for second in 1...20 { plan.used(python, at: Int64(second) * 10 * Self.second) }
    #expect(plan.targets(at: 200 * Self.second, freeThousandths: 900)[python] == 1)
    for _ in 0..<10 { plan.used(python, at: 300 * Self.second) }
    #expect(plan.targets(at: 300 * Self.second, freeThousandths: 900)[python] == 10)
    // A schedule that fires each minute finds what its last burst took.
    #expect(plan.targets(at: 385 * Self.second, freeThousandths: 900)[python] == 10)
    #expect(plan.targets(at: 450 * Self.second, freeThousandths: 900)[python] == 5)
    #expect(plan.targets(at: 3000 * Self.second, freeThousandths: 900) == [python: 1])
    #expect(plan.targets(at: 4000 * Self.second, freeThousandths: 900).isEmpty)
  }

  @Test(arguments: [0, 1, 100, 499, 600, 950])
  func `a burst counts whole, however long it took, and a small one makes no great one forgotten`(milliseconds: Int64)
    throws
  {
    let native = try Self.kind(Self.runtime("swift"))
    var plan = StemPlan(nodeMemory: 16 << 30)
    let burst = { (count: Int64, begin: Int64, plan: inout StemPlan) in
      for index in 0..<count { plan.used(native, at: begin + index * milliseconds * 1_000_000 / count) }
    }
    burst(200, 100 * Self.second, &plan)
    #expect(plan.targets(at: 101 * Self.second, freeThousandths: 900)[native] == 200)
    for second in Int64(0)..<60 { burst(3, (103 + second) * Self.second, &plan) }
    #expect(plan.targets(at: 163 * Self.second, freeThousandths: 900)[native] == 200)
    // It is the great burst's own age that counts: small ones do not keep it alive.
    for second in Int64(0)..<600 { burst(3, (164 + second) * Self.second, &plan) }
    #expect((3...6).contains(plan.targets(at: 764 * Self.second, freeThousandths: 900)[native] ?? 0))
  }

  @Test func `no stem waits where memory is scarce, and all stay within their bounds`() throws {
    var random = SeededGenerator(seed: 7)
    let kinds = try ["python", "node", "swift", "exec", "binary"].flatMap { name in
      try (0..<80).map { try Self.kind(Self.runtime(name), namespace: "n\($0)") }
    }
    for _ in 0..<200 {
      let memory = Int64.random(in: 1 << 28...1 << 36, using: &random)
      var plan = StemPlan(nodeMemory: memory)
      var now: Int64 = 0
      for _ in 0..<Int.random(in: 0..<400, using: &random) {
        now += Int64.random(in: 0..<Self.second, using: &random)
        plan.used(kinds[Int.random(in: kinds.indices, using: &random)], at: now)
      }
      let targets = plan.targets(at: now, freeThousandths: 500)
      #expect(targets.values.reduce(0, +) <= StemPlan.most)
      #expect(targets.reduce(Int64(0)) { $0 + $1.key.cost * Int64($1.value) } <= memory / StemPlan.memoryShare)
      for (kind, count) in targets { #expect((1...kind.most).contains(count)) }
      #expect(plan.targets(at: now, freeThousandths: StemPlan.scarce - 1).isEmpty)
    }
  }

  @Test func `what reads its variables at the start is started from nothing`() throws {
    let plain = try Assignments.make(digest: Self.digest, spec: Self.runtime("node")).spec.template
    #expect(StemKind(plain, namespace: "default")?.name == "node/128Mi")
    for name in ["NODE_OPTIONS", "LD_PRELOAD", "UV_THREADPOOL_SIZE"] {
      let spec = try Assignments.make(digest: Self.digest, spec: Self.runtime("node", env: [name: .string("x")]))
      #expect(StemKind(spec.spec.template, namespace: "default") == nil)
    }
    // The command is executed with its own environment.
    let swift = try Assignments.make(digest: Self.digest, spec: Self.runtime("swift", env: ["LD_X": .string("x")]))
    #expect(StemKind(swift.spec.template, namespace: "default")?.name == "native")
  }

  @Test func `each namespace has Python stems of its own, each memory limit Node stems of its own`() throws {
    let python = Self.runtime("python")
    #expect(try Self.kind(python, namespace: "a") != Self.kind(python, namespace: "b"))
    let node = try Self.kind(Self.runtime("node"))
    let large = try Self.kind(
      .object(["runtime": .string("node"), "resources": .object(["memory": .string("256Mi")])]))
    #expect(node != large)
    #expect(try Self.kind(Self.runtime("exec"), namespace: "a") == Self.kind(Self.runtime("exec"), namespace: "b"))
  }

  @Test func `free memory is read in thousandths`() {
    #expect(FreeMemory.thousandths(meminfo: "MemTotal:  1000 kB\nMemFree: 10 kB\nMemAvailable:   250 kB\n") == 250)
    #expect(FreeMemory.thousandths(meminfo: "nonsense") == 1000)
  }
}
