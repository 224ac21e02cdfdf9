import Glibc
import Synchronization

/// The streams of this process, and what they can show.
enum Terminal {
  /// Whether standard output is a terminal.
  static var outputIsTerminal: Bool { isatty(STDOUT_FILENO) == 1 }
  /// Whether standard error is a terminal.
  static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

  /// Whether colour may be used on standard output: a terminal, and neither NO_COLOR nor TERM=dumb.
  static var colour: Bool {
    outputIsTerminal && EnvironmentVariables["NO_COLOR"] == nil && EnvironmentVariables["TERM"] != "dumb"
  }

  /// Lines and columns of the terminal; nil when there is none.
  static var size: (lines: Int, columns: Int)? {
    var window = winsize()
    guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &window) == 0, window.ws_row > 0 else { return nil }
    return (Int(window.ws_row), Int(window.ws_col))
  }

  /// Writes a line to standard output.
  static func print(_ line: String) { write(Array((line + "\n").utf8), to: STDOUT_FILENO) }
  /// Writes a line to standard error.
  static func note(_ line: String) { write(Array((line + "\n").utf8), to: STDERR_FILENO) }
  /// Writes text as it stands to standard output.
  static func emit(_ text: String) { write(Array(text.utf8), to: STDOUT_FILENO) }
  /// Writes bytes as they stand to standard output.
  static func emit(_ bytes: [UInt8]) { write(bytes, to: STDOUT_FILENO) }

  /// Writes all bytes; a reader that went away ends the process quietly, as any filter does.
  private static func write(_ bytes: [UInt8], to descriptor: Int32) {
    var done = 0
    while done < bytes.count {
      let count = bytes[done...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count > 0 {
        done += count
      } else if errno == EPIPE {
        exit(descriptor == STDOUT_FILENO ? 0 : 1)
      } else if errno != EINTR && errno != EAGAIN {
        return
      }
    }
  }
}

/// The process's environment.
enum EnvironmentVariables {
  /// A variable's value; nil when it is not set.
  static subscript(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }
  }

  /// The user's home folder; `/` when none is known.
  static var home: String { self["HOME"].flatMap { $0.isEmpty ? nil : $0 } ?? "/" }
}

/// A line on standard error for work that takes longer than half a second; on a terminal it goes away when done.
final class Progress: Sendable {
  /// Time before anything is shown, milliseconds.
  static let patience: Int64 = 500

  private struct State {
    var text: String
    var shown = false
    var finished = false
  }

  private let state: Mutex<State>
  private let terminal: Bool

  private init(_ text: String, terminal: Bool) {
    state = Mutex(State(text: text))
    self.terminal = terminal
  }

  /// Changes what the line says.
  func say(_ text: String) {
    state.withLock { state in
      guard !state.finished, state.text != text else { return }
      state.text = text
      if state.shown { draw(text) }
    }
  }

  private func draw(_ text: String) {
    let line = terminal ? "\r\u{1B}[K\(text)…" : "\(text)…\n"
    FileHandleText.toStandardError(line)
  }

  private func show() {
    state.withLock { state in
      guard !state.finished, !state.shown else { return }
      state.shown = true
      draw(state.text)
    }
  }

  private func finish() {
    state.withLock { state in
      if state.shown, terminal { FileHandleText.toStandardError("\r\u{1B}[K") }
      state.finished = true
    }
  }

  /// Runs work; shows `text` when it takes longer than half a second.
  static func during<T: Sendable>(
    _ text: String, quiet: Bool = false, _ work: (Progress) async throws -> T
  ) async throws -> T {
    let progress = Progress(text, terminal: Terminal.errorIsTerminal)
    let timer = Task {
      // The patience ends early by cancellation when the work is done first.
      try await Task.sleep(for: .milliseconds(patience))
      if !quiet { progress.show() }
    }
    defer {
      timer.cancel()
      progress.finish()
    }
    return try await work(progress)
  }
}

/// Text to standard error without a newline of its own.
enum FileHandleText {
  /// Writes text to standard error; what cannot be written is dropped, it was only progress.
  static func toStandardError(_ text: String) {
    let bytes = Array(text.utf8)
    _ = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}
