@testable import apus
import ClusterTestSupport
import Glibc
import Testing

@Suite("Where a worker's sockets are")
struct RunFolderTests {
  @Test func `root has /run, a user the folder of the session or one below /tmp`() {
    #expect(RunFolder.path(user: 0, runtime: "/run/user/0") { _ in true } == "/run/apus")
    #expect(RunFolder.path(user: 1000, runtime: "/run/user/1000") { _ in true } == "/run/user/1000/apus")
    #expect(RunFolder.path(user: 1000, runtime: "/run/user/1000") { _ in false } == "/tmp/apus-1000")
    #expect(RunFolder.path(user: 1000, runtime: nil) { _ in true } == "/tmp/apus-1000")
    #expect(RunFolder.path(user: 1000, runtime: "run") { _ in true } == "/tmp/apus-1000")
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
