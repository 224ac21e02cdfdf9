/// The tar of an image's layer, written by hand, byte by byte: what a registry would send, or an attacker.
package struct LayerBytes {
  /// The archive so far, without its end.
  package private(set) var bytes: [UInt8] = []

  /// An empty archive.
  package init() {}

  /// A whole archive.
  package static func make(_ body: (inout LayerBytes) -> Void) -> [UInt8] {
    var layer = LayerBytes()
    body(&layer)
    return layer.bytes + [UInt8](repeating: 0, count: 1024)
  }

  /// Appends a header; `type` and `size` need not belong together.
  package mutating func header(
    _ name: String, type: Character = "0", size: Int = 0, mode: Int = 0o644, user: Int = 0, group: Int = 0,
    modified: Int = 0, link: String = ""
  ) {
    var block = [UInt8](repeating: 0, count: 512)
    func put(_ data: some Sequence<UInt8>, _ offset: Int) {
      for (index, byte) in data.enumerated() where offset + index < 512 { block[offset + index] = byte }
    }
    func octal(_ value: Int, _ width: Int, _ offset: Int) {
      let digits = String(value, radix: 8)
      put((String(repeating: "0", count: max(0, width - digits.count)) + digits).utf8, offset)
    }
    put(name.utf8.prefix(100), 0)
    octal(mode, 7, 100)
    octal(user, 7, 108)
    octal(group, 7, 116)
    octal(size, 11, 124)
    octal(modified, 11, 136)
    put("        ".utf8, 148)
    put([type.asciiValue ?? 0], 156)
    put(link.utf8.prefix(100), 157)
    put("ustar\u{0}00".utf8, 257)
    octal(block.reduce(0) { $0 + Int($1) }, 6, 148)
    put([0, 0x20], 154)
    bytes += block
  }

  /// Appends contents and the zeros after them.
  package mutating func contents(_ data: [UInt8]) {
    bytes += data + [UInt8](repeating: 0, count: (512 - data.count % 512) % 512)
  }

  /// Appends a file.
  package mutating func file(
    _ name: String, _ text: String = "", mode: Int = 0o644, user: Int = 0, group: Int = 0, modified: Int = 0
  ) {
    header(name, size: text.utf8.count, mode: mode, user: user, group: group, modified: modified)
    contents(Array(text.utf8))
  }

  /// Appends a folder.
  package mutating func folder(_ name: String, mode: Int = 0o755, user: Int = 0) {
    header(name, type: "5", mode: mode, user: user)
  }

  /// Appends a symbolic link.
  package mutating func link(_ name: String, to target: String) { header(name, type: "2", link: target) }

  /// Appends another name of a file.
  package mutating func hardLink(_ name: String, to target: String) { header(name, type: "1", link: target) }

  /// Appends the records of a pax header, each as (key, value).
  package mutating func pax(_ records: [(String, String)]) {
    let text = records.map { key, value in
      var length = key.utf8.count + value.utf8.count + 3
      while "\(length)".utf8.count + key.utf8.count + value.utf8.count + 3 != length { length += 1 }
      return "\(length) \(key)=\(value)\n"
    }.joined()
    header("pax", type: "x", size: text.utf8.count)
    contents(Array(text.utf8))
  }
}
