import ClusterModel
import Testing

@testable import WorkerAgent

@Suite("Parts of a pod")
struct PodPartsTests {
  @Test func `a slot is not given twice while its pod lives, and rests longest when freed`() {
    var table = SlotTable(count: 3)
    #expect([table.take(), table.take()] == [0, 1])
    table.give(0)
    #expect(table.take() == 2)
    #expect(table.take() == 0)
    #expect(table.take() == nil)
    table.give(2)
    table.give(1)
    table.give(1)
    #expect([table.take(), table.take(), table.take()] == [2, 1, nil])
  }

  @Test func `a back-off is immediate first, then doubles to its bound`() {
    var backoff = Backoff()
    #expect((0..<9).map { _ in backoff.failed() } == [0, 50, 100, 200, 400, 800, 1600, 2000, 2000])
    backoff.succeeded()
    #expect(backoff.failed() == 0)
  }

  @Test func `a python pod runs the runner with the contract's environment`() throws {
    let assignment = try Assignments.make(
      spec: .object(["env": .object(["GREETING": .string("hi"), "PATH": .string("/mine")])]))
    let command = PodCommand(assignment, node: "n1")
    #expect(command.arguments == ["/usr/bin/python3", "-I", "-S", "/runtime/runner.py"])
    let environment = Set(command.environment)
    for expected in [
      "GREETING=hi", "PORT=8080", "PATH=/mine", "K_SERVICE=greet", "K_REVISION=greet-00001", "K_CONFIGURATION=greet",
      "APUS_FUNCTION=greet", "APUS_REVISION=greet-00001", "APUS_NAMESPACE=default", "APUS_NODE=n1",
      "APUS_POD=greet-00001-abcde", "APUS_CONCURRENCY=1", "APUS_MAX_BODY=104857600", "APUS_HANDLER=handler.py",
      "HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8", "LISTEN_FDS=1",
    ] { #expect(environment.contains(expected), "\(expected)") }
  }

  @Test func `each runtime has its command`() throws {
    func arguments(_ runtime: String, _ command: [String]?) throws -> PodCommand {
      var spec: [String: JSONValue] = ["runtime": .string(runtime), "handler": .null]
      if let command { spec["command"] = .array(command.map(JSONValue.string)) }
      if runtime == "node" { spec["handler"] = .string("handler.mjs") }
      return PodCommand(try Assignments.make(spec: .object(spec)), node: "n")
    }
    #expect(try arguments("node", nil).arguments == ["/usr/bin/node", "/runtime/runner.mjs"])
    #expect(try arguments("swift", nil).arguments == ["/function/function"])
    #expect(try arguments("binary", ["./server", "-v"]).arguments == ["./server", "-v"])
    let exec = try arguments("exec", ["wc", "-l"])
    #expect(exec.arguments == ["/runtime/apus-exec-runner"])
    #expect(exec.environment.contains(#"APUS_COMMAND=["wc","-l"]"#))
    let lambda = try arguments("lambda", nil)
    #expect(lambda.arguments == ["/runtime/apus-lambda-bridge"] && lambda.environment.contains("APUS_MEMORY_MIB=128"))
    #expect(!lambda.environment.contains { $0.hasPrefix("APUS_COMMAND=") })
    #expect(try arguments("lambda", ["./x"]).environment.contains(#"APUS_COMMAND=["./x"]"#))
  }

  @Test func `secrets become files by name, or by name and key`() {
    let files = SecretFiles.files(of: [
      "token": ["value": [1]], "db": ["user": [2], "password": [3]], "own": ["own": [4]],
    ])
    #expect(files == ["token": [1], "db/user": [2], "db/password": [3], "own": [4]])
  }

  @Test func `the last lines are bounded in number and bytes`() {
    var last = LastLines()
    for index in 0..<50 { last.append("line \(index)".utf8) }
    #expect(last.text.split(separator: "\n").count == 20)
    #expect(last.text.hasSuffix("line 49"))
    for _ in 0..<50 { last.append(String(repeating: "x", count: 9000).utf8) }
    #expect(last.text.utf8.count <= LastLines.bytesMaximum)
    last.append([0xFF, 0xFE])
    #expect(last.text.hasSuffix("\u{FFFD}\u{FFFD}"))
  }

  @Test func `the last lines are masked, and no secret is cut in half`() {
    func last(_ line: String) -> String {
      var last = LastLines()
      Array(line.utf8).withUnsafeBytes { last.append($0, .standard) }
      return last.text
    }
    let long = String(repeating: "x", count: 8000)
    #expect(last("login password=hunter2") == "login password=***")
    #expect(last("password=hunter2 \(long)").hasPrefix("password=*** xxx"))
    #expect(last("at \(long)").utf8.count == LastLines.lineBytesMaximum)
    #expect(last("key -----BEGIN PRIVATE KEY-----\(long)") == "key ***")
    // The end of this address, which says that it holds a secret, is behind what is searched; the masks before it bring
    // it to the beginning.
    let masked = String(repeating: "password=\(String(repeating: "p", count: 430)) ", count: 8)
    let secret = String(repeating: "s3cret", count: 200)
    #expect(masked.utf8.count < LastLines.searchedBytes)
    #expect(!last("\(masked)to postgres://shop:\(secret)@db \(long)").contains("s3cret"))
  }

  @Test func `an end is told in words`() {
    #expect(PodExit(code: 1).sentence(memoryLimit: "1Gi") == "exited with code 1")
    #expect(PodExit(signal: 9).sentence(memoryLimit: "1Gi") == "killed by signal 9 (SIGKILL)")
    #expect(PodExit(signal: 9, outOfMemory: true).sentence(memoryLimit: "1Gi") == "memory limit 1Gi reached")
    #expect(PodExit(signal: 15).status == 143)
  }
}
