/// Reads a tar archive as its bytes come and hands checked entries on. Trusts nothing; throws, never traps.
///
/// Every name is checked before the sink hears of it, every declared size against the bounds before it is believed.
struct TarReader {
  private enum State {
    case header
    case body(Body, left: Int64, padding: Int)
    case padding(Int)
    /// One block of zeros was read; the second must follow.
    case halfEnd
    case end
  }

  private enum Body {
    case file
    case pax
    case globalPax
    case longName
    case longLink
  }

  /// What already lies at a name.
  private enum Place {
    case file
    case folder(named: Bool)
    case link
  }

  private let limits: ArchiveLimits
  private var state = State.header
  private var buffer: [UInt8] = []
  private var offset: Int64 = 0
  private var places: [EntryPath: Place] = [:]
  private var bytes: Int64 = 0
  private var pax: PaxRecords?
  private var longName: [UInt8]?
  private var longLink: [UInt8]?

  init(limits: ArchiveLimits) {
    self.limits = limits
    buffer.reserveCapacity(TarHeader.blockSize)
  }

  /// Takes the next bytes of the archive.
  mutating func feed(_ input: ArraySlice<UInt8>, to sink: inout some ArchiveSink) throws(ArchiveError) {
    var input = input
    while !input.isEmpty {
      let before = input.count
      switch state {
      case .header, .halfEnd:
        let taken = input.prefix(TarHeader.blockSize - buffer.count)
        buffer += taken
        input = input.dropFirst(taken.count)
        if buffer.count == TarHeader.blockSize { try readBlock(&sink) }
      case .body(let body, let left, let padding):
        let taken = input.prefix(Int(min(left, Int64(input.count))))
        input = input.dropFirst(taken.count)
        if case .file = body { try sink.write(taken) } else { buffer += taken }
        let remaining = left - Int64(taken.count)
        state = .body(body, left: remaining, padding: padding)
        if remaining == 0 { try finish(body, padding: padding, &sink) }
      case .padding(let count):
        let taken = min(count, input.count)
        input = input.dropFirst(taken)
        state = taken == count ? .header : .padding(count - taken)
      case .end:
        guard input.allSatisfy({ $0 == 0 }) else { throw .trailingData }
        input = []
      }
      offset += Int64(before - input.count)
    }
  }

  /// The archive's bytes are at their end: it must be, too.
  func finish() throws(ArchiveError) {
    guard case .end = state else { throw .truncated }
  }

  private mutating func readBlock(_ sink: inout some ArchiveSink) throws(ArchiveError) {
    let block = buffer
    buffer.removeAll(keepingCapacity: true)
    if TarHeader.isZero(block) {
      guard pax == nil, longName == nil, longLink == nil else { throw damaged("a header describes no entry") }
      if case .halfEnd = state { state = .end } else { state = .halfEnd }
      return
    }
    guard case .header = state else { throw damaged("a block of zeros stands between entries") }
    let header = try TarHeader(block, offset: offset)
    switch header.type {
    case UInt8(ascii: "x"): try beginExtra(.pax, header, isTaken: pax != nil)
    case UInt8(ascii: "g"): try beginExtra(.globalPax, header, isTaken: false)
    case UInt8(ascii: "L"): try beginExtra(.longName, header, isTaken: longName != nil)
    case UInt8(ascii: "K"): try beginExtra(.longLink, header, isTaken: longLink != nil)
    default: try beginEntry(header, &sink)
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
    _ body: Body, padding: Int, _ sink: inout some ArchiveSink
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
    case .longName: longName = Self.untilNUL(data)
    case .longLink: longLink = Self.untilNUL(data)
    }
  }

  private mutating func beginEntry(_ header: TarHeader, _ sink: inout some ArchiveSink) throws(ArchiveError) {
    let pax = self.pax ?? PaxRecords()
    guard pax.path == nil || longName == nil, pax.linkPath == nil || longLink == nil else {
      throw damaged("an entry has two long names")
    }
    let rawName = pax.path ?? longName ?? header.name
    let rawLink = pax.linkPath ?? longLink ?? header.linkName
    let size = pax.size ?? header.size
    (self.pax, longName, longLink) = (nil, nil, nil)
    let path = try EntryPath.check(rawName)
    let shown = EntryPath.printable(rawName)
    guard header.mode & 0o7000 == 0 else { throw .refused(path: shown, .specialBits) }
    let named = rawName.last == UInt8(ascii: "/")
    switch header.type {
    case 0 where named, UInt8(ascii: "5"):
      guard size == 0 else { throw damaged("a folder has contents") }
      guard let path else { return }  // the top folder itself
      try place(path, .folder(named: true))
      try sink.begin(ArchiveEntry(path: path, kind: .folder))
    case 0, UInt8(ascii: "0"):
      guard let path, !named else { throw .refused(path: shown, .badName("of a file ends like that of a folder")) }
      try place(path, .file)
      bytes += size
      guard size <= limits.bytes, bytes <= limits.bytes else {
        throw .tooManyBytes(limit: limits.bytes, path: path.text)
      }
      try sink.begin(ArchiveEntry(path: path, kind: .file(size: size, executable: header.mode & 0o111 != 0)))
      state = .body(.file, left: size, padding: Self.padding(size))
      if size == 0 { try finish(.file, padding: 0, &sink) }
    case UInt8(ascii: "2"):
      guard let path, size == 0 else { throw damaged("a link has contents or no name") }
      guard path.allowsLink(to: rawLink) else {
        throw .refused(path: path.text, .linkOutside(target: EntryPath.printable(rawLink)))
      }
      try place(path, .link)
      let target = String(decoding: rawLink, as: UTF8.self)
      try sink.begin(ArchiveEntry(path: path, kind: .link(target: target)))
    default: throw .refused(path: shown, Self.refusal(ofType: header.type))
    }
  }

  /// Notes an entry and the folders above it; refuses what is there already or leads through something else.
  private mutating func place(_ path: EntryPath, _ new: Place) throws(ArchiveError) {
    var above = path.parent
    while let folder = above {
      switch places[folder] {
      case .folder: above = nil
      case .file, .link: throw .refused(path: path.text, .throughLink)
      case nil:
        places[folder] = .folder(named: false)
        above = folder.parent
      }
    }
    switch (places[path], new) {
    case (nil, _), (.folder(named: false), .folder): places[path] = new
    default: throw .refused(path: path.text, .duplicate)
    }
    guard places.count <= limits.files else { throw .tooManyFiles(limit: limits.files, path: path.text) }
  }

  private func damaged(_ reason: String) -> ArchiveError { .damagedArchive(reason, offset: offset) }

  private static func padding(_ size: Int64) -> Int {
    Int((Int64(TarHeader.blockSize) - size % Int64(TarHeader.blockSize)) % Int64(TarHeader.blockSize))
  }

  private static func untilNUL(_ data: [UInt8]) -> [UInt8] {
    // GNU ends the name with one NUL; a NUL inside stays and is refused with the name.
    data.last == 0 ? Array(data.dropLast()) : data
  }

  private static func refusal(ofType type: UInt8) -> ArchiveRefusal {
    switch type {
    case UInt8(ascii: "1"): .hardLink
    case UInt8(ascii: "3"), UInt8(ascii: "4"): .device
    case UInt8(ascii: "6"): .fifo
    case UInt8(ascii: "S"): .unsupported("a sparse file")
    default: .unsupported("an entry of type '\(EntryPath.printable([type]))'")
    }
  }
}
