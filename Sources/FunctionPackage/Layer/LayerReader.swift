/// Reads the tar of a container image's layer as its bytes come. Trusts nothing; throws, never traps.
///
/// Wider than `TarReader`, as images are: hard links, owners, links to anywhere, names that come again, and whiteouts.
/// Devices, pipes and sockets are left out: a pod has a /dev of its own. Set-id bits are dropped.
struct LayerReader {
  private enum State {
    case header
    case body(Body, left: Int64, padding: Int)
    case padding(Int)
    case end
  }

  private enum Body { case file, pax, globalPax, longName, longLink, skipped }

  private let limits: ArchiveLimits
  private var state = State.header
  private var buffer: [UInt8] = []
  private var offset: Int64 = 0
  private var pax: PaxRecords?
  private var longName: [UInt8]?
  private var longLink: [UInt8]?
  private(set) var entries = 0
  private(set) var bytes: Int64 = 0

  init(limits: ArchiveLimits) {
    self.limits = limits
    buffer.reserveCapacity(TarHeader.blockSize)
  }

  /// Takes the next bytes of the archive.
  mutating func feed(_ input: ArraySlice<UInt8>, to sink: inout some LayerEntrySink) throws(ArchiveError) {
    var input = input
    while !input.isEmpty {
      let before = input.count
      switch state {
      case .header:
        let taken = input.prefix(TarHeader.blockSize - buffer.count)
        buffer += taken
        input = input.dropFirst(taken.count)
        if buffer.count == TarHeader.blockSize { try readBlock(&sink) }
      case .body(let body, let left, let padding):
        let taken = input.prefix(Int(min(left, Int64(input.count))))
        input = input.dropFirst(taken.count)
        switch body {
        case .file: try sink.write(taken)
        case .skipped: break
        default: buffer += taken
        }
        let remaining = left - Int64(taken.count)
        state = .body(body, left: remaining, padding: padding)
        if remaining == 0 { try finish(body, padding: padding, &sink) }
      case .padding(let count):
        let taken = min(count, input.count)
        input = input.dropFirst(taken)
        state = taken == count ? .header : .padding(count - taken)
      case .end: input = []  // whatever the writer's block size made it add; the digest covers it
      }
      offset += Int64(before - input.count)
    }
  }

  /// The archive's bytes are at their end; it may end without its blocks of zeros, but not in an entry.
  func finish() throws(ArchiveError) {
    switch state {
    case .end: return
    case .header where buffer.isEmpty && pax == nil && longName == nil && longLink == nil: return
    default: throw .truncated
    }
  }

  private mutating func readBlock(_ sink: inout some LayerEntrySink) throws(ArchiveError) {
    let block = buffer
    buffer.removeAll(keepingCapacity: true)
    if TarHeader.isZero(block) {
      state = .end
      return
    }
    let header = try TarHeader(block, offset: offset)
    switch header.type {
    case UInt8(ascii: "x"): try beginExtra(.pax, header, isTaken: pax != nil)
    case UInt8(ascii: "g"): try beginExtra(.globalPax, header, isTaken: false)
    case UInt8(ascii: "L"): try beginExtra(.longName, header, isTaken: longName != nil)
    case UInt8(ascii: "K"): try beginExtra(.longLink, header, isTaken: longLink != nil)
    default: try beginEntry(header, TarHeader.facts(block), &sink)
    }
  }

  private mutating func beginExtra(_ body: Body, _ header: TarHeader, isTaken: Bool) throws(ArchiveError) {
    guard !isTaken else { throw damaged("an entry has two headers of one kind") }
    guard (1...Int64(PaxRecords.bytesMax)).contains(header.size) else {
      throw damaged("a header of \(header.size) bytes is empty or longer than \(PaxRecords.bytesMax)")
    }
    state = .body(body, left: header.size, padding: Self.padding(header.size))
  }

  private mutating func finish(
    _ body: Body, padding: Int, _ sink: inout some LayerEntrySink
  ) throws(ArchiveError) {
    let data = buffer
    buffer.removeAll(keepingCapacity: true)
    state = padding == 0 ? .header : .padding(padding)
    switch body {
    case .file: try sink.end()
    case .pax: pax = try PaxRecords(data, offset: offset)
    case .globalPax:
      guard try !PaxRecords(data, offset: offset).saysPlace else {
        throw damaged("a header for all entries changes names or sizes")
      }
    case .longName: longName = data.last == 0 ? Array(data.dropLast()) : data
    case .longLink: longLink = data.last == 0 ? Array(data.dropLast()) : data
    case .skipped: break
    }
  }

  private mutating func beginEntry(
    _ header: TarHeader, _ facts: (user: Int64, group: Int64, modified: Int64), _ sink: inout some LayerEntrySink
  ) throws(ArchiveError) {
    let pax = self.pax ?? PaxRecords()
    let rawName = pax.path ?? longName ?? header.name
    let rawLink = pax.linkPath ?? longLink ?? header.linkName
    let size = pax.size ?? header.size
    (self.pax, longName, longLink) = (nil, nil, nil)
    entries += 1
    guard entries <= limits.files else {
      throw .tooManyFiles(limit: limits.files, path: EntryPath.printable(rawName))
    }
    let path = try Self.path(rawName)
    var entry = LayerEntry(path: path, kind: .folder)
    entry.user = Self.owner(pax.user ?? facts.user)
    entry.group = Self.owner(pax.group ?? facts.group)
    entry.modified = min(max(pax.modified ?? facts.modified, 0), 1 << 40)
    entry.mode = UInt32(header.mode & 0o777)
    let isFile = [0, UInt8(ascii: "0"), UInt8(ascii: "7")].contains(header.type)
    if isFile, rawName.last != UInt8(ascii: "/") {
      return try beginFile(entry, size, &sink)
    }
    // What is no file has no contents, whatever its size says.
    guard let path else { return }
    switch header.type {
    case 0, UInt8(ascii: "0"), UInt8(ascii: "5"), UInt8(ascii: "7"):
      entry.mode = UInt32(header.mode & 0o1777)
    case UInt8(ascii: "1"):
      guard let target = try Self.path(rawLink) else { throw damaged("a hard link leads to a folder") }
      entry.kind = .hardLink(to: target)
    case UInt8(ascii: "2"):
      guard !rawLink.isEmpty, rawLink.count < 4096, !rawLink.contains(0) else {
        throw .refused(path: path.text, .linkOutside(target: EntryPath.printable(rawLink)))
      }
      entry.kind = .link(target: rawLink)
    case UInt8(ascii: "3"), UInt8(ascii: "4"), UInt8(ascii: "6"): return
    default: throw .refused(path: path.text, .unsupported("an entry of type '\(EntryPath.printable([header.type]))'"))
    }
    try sink.begin(entry)
  }

  /// A regular file, or a whiteout, which is one whose name begins with `.wh.`.
  private mutating func beginFile(
    _ entry: LayerEntry, _ size: Int64, _ sink: inout some LayerEntrySink
  ) throws(ArchiveError) {
    guard let path = entry.path else { throw .refused(path: ".", .badName("of a file is that of the root")) }
    var entry = entry
    bytes += size
    guard size <= limits.bytes, bytes <= limits.bytes else {
      throw .tooManyBytes(limit: limits.bytes, path: path.text)
    }
    let name = path.lastComponent
    var body = Body.skipped
    if name == ".wh..wh..opq" {
      (entry.path, entry.kind) = (path.parent, .opaque)
      try sink.begin(entry)
    } else if name.hasPrefix(".wh..wh.") {
      // What some writers note for themselves.
    } else if name.hasPrefix(".wh.") {
      let hidden = name.utf8.dropFirst(4)
      guard !hidden.isEmpty, !hidden.elementsEqual(".".utf8), !hidden.elementsEqual("..".utf8) else {
        throw .refused(path: path.text, .badName("hides no name"))
      }
      entry.path = path.parent.map { $0.appending(hidden) } ?? EntryPath(checked: Array(hidden))
      entry.kind = .whiteout
      try sink.begin(entry)
    } else {
      entry.kind = .file(size: size)
      try sink.begin(entry)
      body = .file
    }
    state = .body(body, left: size, padding: Self.padding(size))
    if size == 0 { try finish(body, padding: 0, &sink) }
  }

  /// A name as the image's root sees it: `/etc`, `./etc` and `etc` are one. Nil for the root itself.
  private static func path(_ raw: [UInt8]) throws(ArchiveError) -> EntryPath? {
    let inner = raw.drop { $0 == UInt8(ascii: "/") }
    if inner.isEmpty, !raw.isEmpty { return nil }
    return try EntryPath.check(inner)
  }

  private static func owner(_ number: Int64) -> UInt32 {
    (0..<LayerEntry.usersMax).contains(number) ? UInt32(number) : LayerEntry.nobody
  }

  private func damaged(_ reason: String) -> ArchiveError { .damagedArchive(reason, offset: offset) }

  private static func padding(_ size: Int64) -> Int {
    Int((Int64(TarHeader.blockSize) - size % Int64(TarHeader.blockSize)) % Int64(TarHeader.blockSize))
  }
}
