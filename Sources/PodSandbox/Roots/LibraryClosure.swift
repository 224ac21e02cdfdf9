import Glibc

/// The shared libraries a program needs, found by the host's own loader (`ld.so --list`), which knows every rule.
struct LibraryClosure {
  private var known: [String: [String]] = [:]

  /// The loader and all libraries of an ELF file, as host paths; empty for scripts and static programs.
  mutating func libraries(of path: String, loader: String? = nil) throws(RootError) -> [String] {
    if let found = known[path] { return found }
    guard let image = ElfImage(path: path) else { return [] }
    // A library has no loader of its own: it is listed by the program's.
    guard let loader = image.interpreter ?? (image.isDynamic ? loader : nil) else { return [] }
    guard let run = ProgramRun.run(loader, ["--list", path]), run.exitCode == 0 else {
      throw .missing("the loader \(loader) could not list the libraries of \(path)", advice: "reinstall its package")
    }
    var found = [loader]
    for line in run.output.split(separator: "\n") {
      let words = line.split(separator: " ").map { $0.trimmingTabs() }
      if words.count >= 3, words[1] == "=>" {
        guard words[2] != "not" else {
          throw .missing(
            "\(path) needs \(words[0]), which is not on this host", advice: "install the package of \(words[0])")
        }
        found.append(String(words[2]))
      } else if let first = words.first, first.hasPrefix("/") {
        found.append(String(first))
      }
    }
    let distinct = Array(Set(found)).sorted()
    known[path] = distinct
    return distinct
  }
}

extension Substring {
  fileprivate func trimmingTabs() -> Substring { drop { $0 == "\t" } }
}

/// The little of an ELF file that matters here: its loader, and whether it is dynamic at all.
struct ElfImage: Equatable {
  var interpreter: String?
  var isDynamic = false

  /// Nil when the file is not ELF of 64 bits, little endian.
  init?(path: String) {
    let fd = open(path, O_RDONLY | O_CLOEXEC)
    guard fd >= 0 else { return nil }
    defer { close(fd) }
    guard let head = Self.read(fd, at: 0, 64), head[0..<4].elementsEqual([0x7f, 0x45, 0x4c, 0x46]), head[4] == 2,
      head[5] == 1
    else { return nil }
    let offset = Self.number(head, 32, 8)
    let size = Self.number(head, 54, 2)
    let count = Self.number(head, 56, 2)
    guard size >= 56, count > 0, count < 256, let table = Self.read(fd, at: offset, size * count) else { return }
    for index in 0..<count {
      let entry = Array(table[(index * size)..<((index + 1) * size)])
      switch Self.number(entry, 0, 4) {
      case 2: isDynamic = true
      case 3:
        let length = Self.number(entry, 32, 8)
        guard length > 1, length < 4096, let bytes = Self.read(fd, at: Self.number(entry, 8, 8), length) else { return }
        interpreter = String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
      default: break
      }
    }
  }

  private static func read(_ fd: CInt, at offset: Int, _ count: Int) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    guard offset >= 0, pread(fd, &bytes, count, off_t(offset)) == count else { return nil }
    return bytes
  }

  private static func number(_ bytes: [UInt8], _ at: Int, _ count: Int) -> Int {
    var value: UInt64 = 0
    for index in (0..<count).reversed() { value = value << 8 | UInt64(bytes[at + index]) }
    return Int(truncatingIfNeeded: value & 0x7fff_ffff_ffff_ffff)
  }
}
