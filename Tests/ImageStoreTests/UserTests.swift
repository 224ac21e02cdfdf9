import ClusterTestSupport
import Foundation
import Testing

@testable import ImageStore

@Suite("Users of images")
struct UserTests {
  private func layers(_ files: [[String: String]]) throws -> (TemporaryFolder, [String]) {
    let folder = try TemporaryFolder("apus-users")
    var places: [String] = []
    for (index, layer) in files.enumerated() {
      let place = "\(folder.path)/\(index)"
      try FileManager.default.createDirectory(atPath: "\(place)/etc", withIntermediateDirectories: true)
      for (name, text) in layer { try Data(text.utf8).write(to: URL(filePath: "\(place)/\(name)")) }
      places.append(place)
    }
    return (folder, places)
  }

  @Test("names and numbers are looked up in the topmost layer that has the file")
  func names() throws {
    let (folder, layers) = try layers([
      [:], ["etc/passwd": "root:x:0:0::/:\nnode:x:1000:1001::/:\nbroken\n:::\nx:y\n", "etc/group": "staff:x:50:\n"],
      ["etc/passwd": "node:x:5:5::/:\nold:x:6:6::/:\n"],
    ])
    defer { withExtendedLifetime(folder) {} }
    func user(_ text: String) throws -> [UInt32] {
      let (user, group) = try ImageUsers.resolve(text, layers: layers)
      return [user, group]
    }
    #expect(try user("") == [0, 0])
    #expect(try user("node") == [1000, 1001])
    #expect(try user("1000") == [1000, 1001])
    #expect(try user("77") == [77, 0])
    #expect(try user("node:staff") == [1000, 50])
    #expect(try user("7:8") == [7, 8])
    for text in ["old", "node:none", "70000", "0:70000", "-1"] {
      #expect(throws: ImageError.self, "\(text)") { _ = try user(text) }
    }
  }

  @Test("a link in a layer leads to the layer's own file, and never to the host's")
  func links() throws {
    let (folder, layers) = try layers([[:], ["etc/passwd": "deep:x:9:9::/:\n"]])
    defer { withExtendedLifetime(folder) {} }
    try FileManager.default.createSymbolicLink(
      atPath: "\(layers[0])/etc/passwd", withDestinationPath: "/etc/own-passwd")
    try Data("own:x:3:4::/:\n".utf8).write(to: URL(filePath: "\(layers[0])/etc/own-passwd"))
    #expect(try ImageUsers.resolve("own", layers: layers).user == 3)
    try FileManager.default.removeItem(atPath: "\(layers[0])/etc/passwd")
    try FileManager.default.createSymbolicLink(
      atPath: "\(layers[0])/etc/passwd", withDestinationPath: "../../../../../../../../etc/passwd")
    #expect(throws: ImageError.self) { _ = try ImageUsers.resolve("daemon", layers: layers) }
  }
}
