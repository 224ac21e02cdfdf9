package import Foundation

/// A folder of its own for one test; removed with the value unless the test asks to keep it.
package final class TemporaryFolder: Sendable {
  /// The folder.
  package let url: URL

  /// Makes a fresh folder below the system's temporary one.
  package init(_ name: String = "apus-test") throws {
    let unique = "\(name)-\(UInt64.random(in: 0...UInt64.max))"
    url = FileManager.default.temporaryDirectory.appending(path: unique)
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  /// The folder's path.
  package var path: String { url.path }

  deinit { try? FileManager.default.removeItem(at: url) }
}
