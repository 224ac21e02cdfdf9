import ClusterTestSupport
import Foundation
@testable import PodSandbox
import Testing

@Suite("Roots", .timeLimit(.minutes(3)))
struct RootBuilderTests {
  @Test func `a python root runs python with its library, and the host's packages stay out`() async throws {
    let root = try await TestRoots.path(.python)
    try await withPodHost { host in
      let code = """
        import json,ssl,sqlite3,ctypes,asyncio,http.client,decimal,zlib,hashlib,uuid,zipfile,multiprocessing
        import getpass,os
        print(getpass.getuser(), json.dumps(os.listdir('/')), os.path.exists('/usr/lib/python3/dist-packages'))
        """
      let done = try await host.run(["/usr/bin/python3", "-c", code]) { $0.stem.origin = .root(root) }
      #expect(done.exit.exitCode == 0, "\(done.err)")
      #expect(done.out.hasPrefix("function "))
      #expect(done.out.hasSuffix("False\n"))
      #expect(!done.out.contains("\"root\"") && !done.out.contains("home"))
    }
  }

  @Test func `compiled modules are taken as they are, not compiled at every start`() async throws {
    let root = try await TestRoots.path(.python)
    try await withPodHost { host in
      let code = "import json,asyncio.events"
      let done = try await host.run(["/usr/bin/python3", "-v", "-c", code]) { $0.stem.origin = .root(root) }
      #expect(done.err.contains("json/__pycache__"))
      #expect(!done.err.contains("wrote"))
      #expect(!done.err.contains("bytecode is stale"))
    }
  }

  @Test func `a node root runs node`() async throws {
    let root = try await TestRoots.path(.node)
    try await withPodHost { host in
      let code = """
        const os = require('os'), zlib = require('zlib');
        console.log(JSON.stringify({v: +process.versions.node.split('.')[0] >= 18, u: os.userInfo().username,
          z: zlib.gzipSync('x').length > 0}))
        """
      let done = try await host.run(["/usr/bin/node", "-e", code]) { $0.stem.origin = .root(root) }
      #expect(done.out == "{\"v\":true,\"u\":\"function\",\"z\":true}\n", "\(done.err) \(done.exit.reason)")
    }
  }

  @Test func `an exec root has the Unix tools, and runtime files with their libraries`() async throws {
    let folder = try TemporaryFolder()
    let builder = RootBuilder(folder: "\(folder.path)/roots", logger: quiet)
    try "runner".write(toFile: "\(folder.path)/runner.txt", atomically: true, encoding: .utf8)
    let request = RootRequest(
      kind: .exec,
      runtimeFiles: [
        RuntimeFile(source: "\(folder.path)/runner.txt", destination: "/runtime/runner.txt"),
        RuntimeFile(source: "/bin/ls", destination: "/runtime/program"),
      ])
    let root = try await builder.root(for: request)
    #expect(!root.reused)
    #expect(root.interpreter == "/bin/sh")
    try await withPodHost { host in
      let script = """
        cat /runtime/runner.txt; /runtime/program /runtime
        printf 'b\\na\\n' | sort | sed s/a/A/ | awk '{print $1}' | grep A
        echo x | gzip | gunzip; find /var -name secrets
        """
      let done = try await host.shell(script) { $0.stem.origin = .root(root.path) }
      #expect(done.out == "runnerprogram\nrunner.txt\nA\nx\n/var/openfaas/secrets\n", "\(done.err)")
    }
    // The same again is found; a changed runner is another root.
    let again = try await builder.root(for: request)
    #expect(again.reused && again.path == root.path)
    try "other!".write(toFile: "\(folder.path)/runner.txt", atomically: true, encoding: .utf8)
    #expect(try await builder.root(for: request).digest != root.digest)
  }

  @Test func `a lambda root has what a bootstrap may be written in, and the package where Lambda has it`() async throws
  {
    let root = try await TestRoots.path(.lambda)
    try await withPodHost { host in
      let script = """
        echo shell; python3 -c 'import json, urllib.request; print("python")'; node -e 'console.log("node")'
        curl --version | cut -d' ' -f1 | head -1; readlink /var/task; cd /var/task && pwd -P
        """
      let done = try await host.shell(script) { $0.stem.origin = .root(root) }
      #expect(done.out == "shell\npython\nnode\ncurl\n/function\n/function\n", "\(done.err)")
    }
  }

  @Test func `a native root runs dynamically linked C and C++`() async throws {
    let folder = try TemporaryFolder()
    chmod(folder.path, 0o755)
    let source = "\(folder.path)/a.cc"
    let program =
      "#include <iostream>\n#include <cmath>\nint main(int n, char **) { std::cout << std::sqrt(n * 4.0); }\n"
    try program.write(toFile: source, atomically: true, encoding: .utf8)
    let compiler = ProgramRun.run("/usr/bin/env", ["c++", source, "-o", "\(folder.path)/a"])
    try #require(compiler?.exitCode == 0)
    let root = try await TestRoots.path(.native)
    try await withPodHost { host in
      let done = try await host.run(["/function/a"]) {
        $0.stem.origin = .root(root)
        $0.bind.codePath = folder.path
      }
      #expect(done.out == "2", "\(done.err)")
    }
  }

  @Test func `builders side by side make one root, and a damaged one is replaced`() async throws {
    let folder = try TemporaryFolder()
    let paths = try await withThrowingTaskGroup(of: String.self) { group in
      for _ in 0..<3 {
        group.addTask {
          try await RootBuilder(folder: folder.path, logger: quiet).root(for: RootRequest(kind: .native)).path
        }
      }
      return try await group.reduce(into: Set<String>()) { $0.insert($1) }
    }
    #expect(paths.count == 1)
    let path = try #require(paths.first)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 1)
    truncate("\(path)/etc/passwd", 0)
    let healed = try await RootBuilder(folder: folder.path, logger: quiet).root(for: RootRequest(kind: .native))
    #expect(healed.path == path && !healed.reused)
    #expect(try String(contentsOfFile: "\(path)/etc/passwd", encoding: .utf8).contains("function"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 1)
  }

  @Test func `the digest is SHA-256`() {
    func hex(_ text: String) -> String {
      var digest = ContentDigest()
      digest.add(text)
      return digest.finish()
    }
    #expect(hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    #expect(hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(
      hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")
        == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
    #expect(hex(String(repeating: "a", count: 100_000)) == hex(String(repeating: "a", count: 100_000)))
  }

  @Test func `damaged programs are not programs, and never end the builder`() throws {
    let folder = try TemporaryFolder()
    var random = SeededGenerator(seed: UInt64.random(in: 0 ... .max))
    let bytes = try Data(contentsOf: URL(filePath: "/bin/sh")).prefix(2048)
    for round in 0..<2000 {
      var damaged = Array(bytes.prefix(Int.random(in: 0...2048, using: &random)))
      for _ in 0..<4 where !damaged.isEmpty {
        damaged[Int.random(in: 0..<min(damaged.count, 900), using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      let path = "\(folder.path)/elf"
      try Data(damaged).write(to: URL(filePath: path))
      // Whatever comes out, it came out.
      let image = ElfImage(path: path)
      #expect((image?.interpreter?.utf8.count ?? 0) < 4096, "seed \(random.seed), round \(round)")
    }
  }
}
