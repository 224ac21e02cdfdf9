import ClusterTestSupport
import Foundation
import Testing

/// What the machine does to a cluster: a port in use, a full disk, a damaged file, packages made to harm.
@Suite("A harsh world")
struct HarshWorldTests {
  private static let echo = "def handle(event, context):\n    return event.text\n"

  @Test("a port in use is named, and what to do about it", .timeLimit(.minutes(5)))
  func portInUse() async throws {
    let folder = try TemporaryFolder("apus-port")
    let taken = try await Shell.bash(
      """
      exec 3< <(exec python3 -c 'import socket,time
      s=socket.socket(); s.bind(("127.0.0.1",0)); s.listen(); print(s.getsockname()[1], flush=True); time.sleep(60)')
      read -r port <&3
      \(TestCluster.apus) up --data \(folder.path)/data --gateway-port $port --api-port 0 --admin-port 0; echo "exit $?"
      kill %% 2>/dev/null || pkill -P $$ python3
      """)
    #expect(taken.output.contains("exit 1"), "\(taken.all)")
    #expect(taken.errors.contains("in use") && taken.errors.contains("--gateway-port"), "\(taken.all)")
    #expect(!FileManager.default.fileExists(atPath: folder.path + "/data/kubeconfig"))
  }

  @Test("a damaged store is named, left as it is, and nothing starts on it", .timeLimit(.minutes(5)))
  func damagedStore() async throws {
    let folder = try TemporaryFolder("apus-damage")
    let up = ["up", "--data", "\(folder.path)/data", "--workers", "0", "--gateway-port", "0", "--api-port", "0"]
    let first = try await Shell.run(TestCluster.apus, up + ["--admin-port", "0"])
    try #require(first.status == 0, "\(first.all)")
    _ = try await Shell.run(TestCluster.apus, ["down", "--data", folder.path + "/data"])
    let store = folder.path + "/data/state/store.sqlite"
    _ = try await Shell.bash(
      "rm -f \(store)-wal \(store)-shm; head -c 8192 /dev/urandom | dd of=\(store) conv=notrunc 2>&1")
    let before = try await Shell.bash("sha256sum < \(store)").output
    let second = try await Shell.run(TestCluster.apus, up + ["--admin-port", "0"])
    #expect(second.status == 1 && second.errors.contains("store.sqlite"), "\(second.all)")
    #expect(try await Shell.bash("sha256sum < \(store)").output == before)
    _ = try await Shell.run(TestCluster.apus, ["down", "--data", folder.path + "/data"])
  }

  @Test(
    "a full disk: writes are refused and say so, calls go on, and with room everything does", .timeLimit(.minutes(5)))
  func fullDisk() async throws {
    let folder = try TemporaryFolder("apus-full")
    let home = folder.path + "/small"
    let mounted = try await Shell.bash("mkdir \(home) && mount -t tmpfs -o size=400m none \(home)")
    try #require(mounted.status == 0, "\(mounted.all)")
    do {
      try await TestCluster.with(workers: 1, data: home + "/data") { cluster in
        let made = try await cluster.deployPython("echo", Self.echo)
        try #require(made.status == 0, "\(made.all)")
        _ = try await cluster.bash("dd if=/dev/zero of=\(home)/filler bs=64k 2>/dev/null; sync")
        let write = try await cluster.bash(
          "for i in $(seq 200); do head -c 100000 /dev/zero | base64 -w0 | apus secret set big-$i --from-stdin v || exit 1; done"
        )
        #expect(write.status == 1, "\(write.all.suffix(500))")
        #expect(write.errors.contains("No space left") || write.errors.contains("is full"), "\(write.all.suffix(500))")
        for number in 0..<20 {
          let answer = try await cluster.bash("curl -s -d n\(number) \(cluster.url("echo"))")
          #expect(answer.output == "n\(number)", "calls do not need the disk: \(answer.all)")
        }
        #expect(try await cluster.apus("get", "functions").status == 0)
        _ = try await cluster.bash("rm \(home)/filler")
        let again = try await eventually(within: .seconds(30)) {
          try await cluster.bash("echo x | apus secret set after --from-stdin v").status == 0
        }
        #expect(again, "writes go on once there is room, without a restart")
        let logged = try await eventually(within: .seconds(20)) {
          try await cluster.apus("logs", "function:echo AND stream:access", "--platform").output.contains(" 200 ")
        }
        #expect(logged, "what was spooled while the disk was full arrives")
      }
    } catch {
      _ = try await Shell.bash("umount -l \(home)")
      throw error
    }
    _ = try await Shell.bash("umount -l \(home)")
  }

  /// Packages that a client of the API, not our CLI, could upload.
  private static let packages = """
    import gzip, hashlib, io, os, sys, tarfile
    def tar(*entries):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as t:
            for name, kind, value in entries:
                e = tarfile.TarInfo(name)
                e.type = kind
                if kind == tarfile.REGTYPE:
                    e.size = len(value)
                    t.addfile(e, io.BytesIO(value))
                else:
                    if kind == tarfile.SYMTYPE: e.linkname = value
                    if kind == tarfile.CHRTYPE: e.devmajor, e.devminor = 1, 3
                    t.addfile(e)
        return out.getvalue()
    code = ("handler.py", tarfile.REGTYPE, b"def handle(e, c):\\n    return 'x'\\n")
    made = {
        "dotdot": tar(code, ("../escaped", tarfile.REGTYPE, b"x")),
        "link": tar(code, ("out", tarfile.SYMTYPE, "/etc/passwd")),
        "device": tar(code, ("null", tarfile.CHRTYPE, None)),
        "bomb": gzip.compress(b"\\0" * (1200 << 20), 9),
    }
    os.makedirs("packages", exist_ok=True)
    for name, data in made.items():
        open(f"packages/{name}", "wb").write(data)
        print(name, hashlib.sha256(data).hexdigest())
    """

  @Test("packages made to harm start nothing, and the function says why", .timeLimit(.minutes(5)))
  func packages() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      try cluster.write("make.py", Self.packages)
      let made = try await cluster.bash("python3 make.py")
      try #require(made.status == 0, "\(made.all)")
      let hints = ["dotdot": "..", "link": "link", "device": "device", "bomb": "250 times"]
      for line in made.output.split(separator: "\n") {
        let words = line.split(separator: " ").map(String.init)
        let (name, digest) = (words[0], "sha256:" + words[1])
        let sent = try await cluster.bash(
          """
          token=$(sed -n 's/.*token: "\\(.*\\)"/\\1/p' "$APUS_KUBECONFIG")
          curl -sk -o put.out -w '%{http_code}' -T packages/\(name) -H "Authorization: Bearer $token" \
            "\(cluster.api)/apis/apus.dev/v1/namespaces/default/artifacts/\(digest)"
          """)
        guard ["200", "201", "204"].contains(sent.output) else {
          #expect(["400", "413", "422"].contains(sent.output), "\(name): \(sent.all)")
          continue
        }
        try cluster.write(
          "\(name).yaml",
          TestCluster.manifest(name, "runtime: python\n  handler: handler.py\n  source: {digest: \"\(digest)\"}"))
        let applied = try await cluster.bash(
          "kubectl --kubeconfig $APUS_KUBECONFIG apply --validate=false -f \(name).yaml")
        #expect(applied.status == 0, "\(applied.all)")
        let refused = try await eventually(within: .seconds(30)) {
          try await cluster.apus("describe", "function", name).output.contains("RevisionFailed")
        }
        let said = try await cluster.apus("describe", "function", name).output
        #expect(refused && said.contains(hints[name] ?? ""), "\(name): \(said)")
      }
      #expect(
        try await cluster.bash("find \(cluster.work) / -xdev -name escaped -newer make.py 2>/dev/null").output == "")
      let fine = try await cluster.deployPython("fine", Self.echo)
      #expect(fine.status == 0, "the node goes on: \(fine.all)")
    }
  }

  @Test("a watch from before the server's start is told to list again", .timeLimit(.minutes(5)))
  func oldWatch() async throws {
    try await TestCluster.with(workers: 1) { cluster in
      let old = try await cluster.bash(
        """
        kubectl --kubeconfig $APUS_KUBECONFIG --cache-dir kube get --raw '/api/v1/pods?watch=1&resourceVersion=1'
        """)
      #expect(old.all.contains("Expired") || old.all.contains("too old") || old.all.contains("410"), "\(old.all)")
    }
  }
}
