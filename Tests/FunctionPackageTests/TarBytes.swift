import Foundation

@testable import FunctionPackage

/// Tar archives written by hand, byte by byte, by rules of their own: what an attacker would send.
struct TarBytes {
  private(set) var bytes: [UInt8] = []

  /// Appends a header; everything about it can be wrong.
  mutating func header(
    _ name: [UInt8], type: Character = "0", size: Int = 0, mode: Int = 0o644, link: String = "",
    magic: String = "ustar\u{0}00", sizeField: [UInt8]? = nil, sumOff: Int = 0
  ) {
    var block = [UInt8](repeating: 0, count: 512)
    func put(_ data: some Sequence<UInt8>, _ offset: Int) {
      for (index, byte) in data.enumerated() where offset + index < 512 { block[offset + index] = byte }
    }
    put(name.prefix(100), 0)
    put(Array(String(format: "%07o", mode).utf8), 100)
    put(Array("0000000\u{0}0000000\u{0}".utf8), 108)
    put(sizeField ?? Array(String(format: "%011o", size).utf8), 124)
    put(Array("00000000000".utf8), 136)
    put(Array("        ".utf8), 148)
    put([type.asciiValue ?? 0], 156)
    put(link.utf8, 157)
    put(magic.utf8, 257)
    let sum = block.reduce(0) { $0 + Int($1) } + sumOff
    put(Array(String(format: "%06o", sum).utf8) + [0, 0x20], 148)
    bytes += block
  }

  mutating func header(_ name: String, type: Character = "0", size: Int = 0, mode: Int = 0o644, link: String = "") {
    header(Array(name.utf8), type: type, size: size, mode: mode, link: link)
  }

  /// Appends contents and the zeros after them.
  mutating func contents(_ data: some Collection<UInt8>) {
    bytes += data
    bytes += [UInt8](repeating: 0, count: (512 - data.count % 512) % 512)
  }

  mutating func file(_ name: String, _ text: String = "", mode: Int = 0o644) {
    header(name, size: text.utf8.count, mode: mode)
    contents(Array(text.utf8))
  }

  mutating func pax(_ records: String, type: Character = "x") {
    header("pax", type: type, size: records.utf8.count)
    contents(Array(records.utf8))
  }

  mutating func end() { bytes += [UInt8](repeating: 0, count: 1_024) }

  static func record(_ key: String, _ value: String) -> String {
    var length = key.utf8.count + value.utf8.count + 3
    while "\(length)".utf8.count + key.utf8.count + value.utf8.count + 3 != length { length += 1 }
    return "\(length) \(key)=\(value)\n"
  }

  static func make(_ body: (inout TarBytes) -> Void) -> [UInt8] {
    var tar = TarBytes()
    body(&tar)
    tar.end()
    return tar.bytes
  }
}

func gzip(_ bytes: [UInt8]) throws -> [UInt8] {
  let writer = try GzipWriter()
  var packed: [UInt8] = []
  try writer.write(bytes[...]) { piece throws(ArchiveError) in packed += piece }
  try writer.finish { piece throws(ArchiveError) in packed += piece }
  return packed
}

/// Keeps everything it is given.
struct MemorySink: ArchiveSink {
  var entries: [ArchiveEntry] = []
  var contents: [EntryPath: [UInt8]] = [:]
  var ended = 0

  mutating func begin(_ entry: ArchiveEntry) {
    entries.append(entry)
    if case .file = entry.kind { contents[entry.path] = [] }
  }

  mutating func write(_ bytes: ArraySlice<UInt8>) {
    if let path = entries.last?.path { contents[path, default: []] += bytes }
  }

  mutating func end() { ended += 1 }
}

/// Reads a tar without its gzip, in pieces of the given size.
func readTar(_ bytes: [UInt8], pieces: Int = 4_096, limits: ArchiveLimits = ArchiveLimits()) throws(ArchiveError)
  -> MemorySink
{
  var reader = TarReader(limits: limits)
  var sink = MemorySink()
  var rest = bytes[...]
  while !rest.isEmpty {
    try reader.feed(rest.prefix(pieces), to: &sink)
    rest = rest.dropFirst(pieces)
  }
  try reader.finish()
  return sink
}

func archiveError(_ body: () throws -> Void) -> ArchiveError? {
  do {
    try body()
    return nil
  } catch {
    return error as? ArchiveError
  }
}
