/// What a block is built of: the directory that says where everything is, the numbers, and the texts.
struct BlockParts {
  var meta = ByteWriter()
  var data: [UInt8] = []
  var heap: TextHeapWriter
  let level: Int32
  /// Whether integers are only packed: the least that can go wrong.
  let isPlain: Bool

  init(level: Int32, isPlain: Bool = false) {
    self.level = level
    self.isPlain = isPlain
    heap = TextHeapWriter(level: level)
  }

  /// Appends to the numbers and notes place and length in the directory.
  mutating func place(_ bytes: [UInt8]) {
    meta.varint(data.count)
    meta.varint(bytes.count)
    data += bytes
  }
}

/// Texts that fit no other form, one after another, compressed in chunks.
struct TextHeapWriter {
  static let chunkBytes = 128 * 1024

  private let level: Int32
  private var lengths = ByteWriter()
  private var open: [UInt8] = []
  private var openCount = 0
  /// Texts appended so far; the number of the next.
  private(set) var count = 0
  private(set) var bytes: [UInt8] = []
  private(set) var directory = ByteWriter()
  private(set) var chunks = 0

  init(level: Int32) { self.level = level }

  mutating func append(_ text: UnsafeBufferPointer<UInt8>) {
    lengths.varint(text.count)
    open.append(contentsOf: text)
    openCount += 1
    count += 1
    if open.count >= Self.chunkBytes { flush() }
  }

  /// Ends the chunk that is open.
  mutating func flush() {
    guard openCount > 0 else { return }
    let raw = lengths.bytes + open
    let packed = Deflate.compress(raw, level: level)
    directory.varint(openCount)
    directory.varint(raw.count)
    directory.varint(packed?.count ?? raw.count)
    bytes += packed ?? raw
    chunks += 1
    lengths.removeAll()
    open.removeAll(keepingCapacity: true)
    openCount = 0
  }
}
