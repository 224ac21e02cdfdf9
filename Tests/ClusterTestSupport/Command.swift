internal import Subprocess

/// A program of the system that ran to its end, for tests: Foundation's own `Process` may read past its memory when it looks
/// for the descriptors to close (a directory entry at the end of a page), which ends the test process.
package struct Command: Sendable {
  /// What it wrote on both outputs, at most 64 MiB.
  package let output: String
  /// Whether it exited with 0.
  package let isSuccess: Bool

  /// Runs a program, found in $PATH, with these bytes as its input; throws when it cannot be started.
  package static func run(_ program: String, _ arguments: [String], input: [UInt8] = []) async throws -> Command {
    let result = try await Subprocess.run(
      .name(program), arguments: Arguments(arguments), input: .array(input), output: .string(limit: 64 << 20),
      error: .combinedWithOutput)
    return Command(output: result.standardOutput, isSuccess: result.terminationStatus.isSuccess)
  }
}
