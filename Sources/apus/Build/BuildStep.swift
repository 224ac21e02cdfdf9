import FoundationEssentials
import Glibc
import Subprocess

#if canImport(System)
  import System
#else
  import SystemPackage
#endif

/// One command of a build, with its output kept for the case that it fails.
struct BuildStep {
  /// Lines of output shown when the command fails.
  static let linesShown = 30

  /// What is done, for progress and errors: `building greet (swift)`.
  let what: String
  /// The executable's path, or a name that is looked up in $PATH.
  let executable: String
  /// The arguments.
  let arguments: [String]
  /// The working folder.
  let folder: String
  /// Variables beside the inherited ones.
  var variables: [String: String] = [:]

  private static func words(_ status: TerminationStatus) -> String {
    switch status {
    case .exited(let code): "exit status \(code)"
    case .signaled(let signal): "ended by signal \(signal)"
    }
  }

  /// Runs it to its end; answers its output; throws a `Failure` with the last lines when it exits other than with 0.
  @discardableResult
  func run() async throws -> String {
    let log = try TemporaryFile(prefix: "apus-build")
    defer { log.remove() }
    var environment = Subprocess.Environment.inherit
    for (name, value) in variables {
      guard let key = Subprocess.Environment.Key(rawValue: name) else { continue }
      environment = environment.updating([key: value])
    }
    let executable: Subprocess.Executable =
      self.executable.contains("/") ? .path(FilePath(self.executable)) : .name(self.executable)
    let output = log.descriptor
    let status: TerminationStatus
    do {
      let (arguments, folder) = (arguments, folder)
      let result = try await Progress.during(what) { _ in
        try await Subprocess.run(
          executable, arguments: Arguments(arguments), environment: environment, workingDirectory: FilePath(folder),
          output: .fileDescriptor(output, closeAfterSpawningProcess: false), error: .combinedWithOutput
        ).terminationStatus
      }
      status = result
    } catch {
      throw Failure(
        "\(what): \(self.executable) cannot be run: \(error)", next: "`apus doctor` shows what is missing.")
    }
    let text = log.text()
    guard status.isSuccess else {
      let lines = text.split(separator: "\n").suffix(Self.linesShown)
      let shown = lines.map { "  " + Text.visible(String($0)) }.joined(separator: "\n")
      throw Failure("\(what) failed: \(Self.words(status))\n\(shown)")
    }
    return text
  }
}

/// A file for a command's output; it has no name once it is open.
private final class TemporaryFile: Sendable {
  /// Bytes read back at most, from the end.
  static let bytesMax = 1 << 20

  let descriptor: FileDescriptor

  init(prefix: String) throws(Failure) {
    var template = Array("\(FileManager.default.temporaryDirectory.path())/\(prefix)-XXXXXX".utf8CString)
    let opened = mkstemp(&template)
    guard opened >= 0 else { throw Failure("no temporary file can be made: \(String(cString: strerror(errno)))") }
    unlink(template)
    descriptor = FileDescriptor(rawValue: opened)
  }

  func text() -> String {
    let end = lseek(descriptor.rawValue, 0, SEEK_END)
    let start = max(0, Int(end) - Self.bytesMax)
    let bytes = [UInt8](unsafeUninitializedCapacity: Int(end) - start) { buffer, used in
      used = max(0, pread(descriptor.rawValue, buffer.baseAddress, buffer.count, off_t(start)))
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  func remove() { try? descriptor.close() }
}
