@testable import apus
import ClusterTestSupport
import Glibc
import Testing

@Suite("Where a worker's sockets are")
struct RunFolderTests {
  @Test func `root has /run, a user a folder of the home or one below /tmp`() {
    #expect(RunFolder.path(user: 0, home: "/root") == "/run/apus")
    #expect(RunFolder.path(user: 1000, home: "/home/ada") == "/home/ada/.local/state/apus/run")
    #expect(RunFolder.path(user: 1000, home: "/home/" + String(repeating: "a", count: 60)) == "/tmp/apus-1000")
    for home in [nil, "", "/", "home"] { #expect(RunFolder.path(user: 1000, home: home) == "/tmp/apus-1000") }
  }

  @Test func `a folder that somebody else made, may write to, or links to is not taken`() throws {
    let folder = try TemporaryFolder("apus-run")
    #expect(RunFolder.isOurs(folder.path))
    #expect(!RunFolder.isOurs(folder.path + "/none"))
    let link = folder.path + "/link"
    #expect(symlink(folder.path, link) == 0 && !RunFolder.isOurs(link))
    let open = folder.path + "/open"
    #expect(mkdir(open, 0o700) == 0 && chmod(open, 0o777) == 0 && !RunFolder.isOurs(open))
    let foreign = folder.path + "/foreign"
    #expect(mkdir(foreign, 0o700) == 0 && chown(foreign, 65534, 65534) == 0 && !RunFolder.isOurs(foreign))
  }
}
