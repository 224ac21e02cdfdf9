internal import Foundation

/// One segment of the log that makes records durable before they are in a block: a head, then frames, each what one
/// turn of the writer took.
struct WriteAheadLog {
  static let magic: [UInt8] = Array("APUSWAL1".utf8)
  static let frameMagic: [UInt8] = [0xF7, 0x41, 0x50, 0x46]
  static let headBytes = 16
  static let frameHeadBytes = 12

  let name: String
  private var file: AppendFile

  /// The segment whose first record has this number.
  static func name(firstID: Int64) -> String {
    let digits = String(firstID)
    return "wal-" + String(repeating: "0", count: max(0, 19 - digits.count)) + digits + ".log"
  }

  static func firstID(name: String) -> Int64? {
    guard name.hasPrefix("wal-"), name.hasSuffix(".log") else { return nil }
    return Int64(name.dropFirst(4).dropLast(4))
  }

  /// Makes a new segment, durable with its name.
  init(firstID: Int64, in folder: StoreFile) throws {
    name = Self.name(firstID: firstID)
    file = try AppendFile(path: folder.path(name), isNew: true)
    var head = ByteWriter()
    head.raw(Self.magic)
    head.u64(UInt64(firstID))
    do {
      try head.bytes.withUnsafeBytes { try file.append($0) }
      try file.sync()
      try folder.syncDirectory()
    } catch {
      file.close()
      throw error
    }
  }

  /// Goes on with a segment that was replayed, behind its last good frame.
  init(name: String, length: Int64, in folder: StoreFile) throws {
    self.name = name
    file = try AppendFile(path: folder.path(name), isNew: false)
    do {
      if file.length != length { try file.cut(to: length) }
      try file.sync()
    } catch {
      file.close()
      throw error
    }
  }

  var length: Int64 { file.length }

  /// Appends a frame and makes it durable; after a failure the segment is as before.
  mutating func append(_ payload: [UInt8]) throws {
    let before = file.length
    var head = ByteWriter()
    head.raw(Self.frameMagic)
    head.u32(UInt32(payload.count))
    head.u32(Deflate.crc(payload[...]))
    do {
      try head.bytes.withUnsafeBytes { try file.append($0) }
      try payload.withUnsafeBytes { try file.append($0) }
      try file.sync()
    } catch {
      try file.cut(to: before)
      throw error
    }
  }

  func close() { file.close() }
}

/// What replaying a segment found.
struct WriteAheadReplay {
  /// The payloads, in order.
  var frames: [ArraySlice<UInt8>] = []
  /// Where the last good frame ends.
  var length = WriteAheadLog.headBytes
  /// Bytes that were no frame with good frames behind them: damage, not a torn end.
  var lostBytes = 0
  /// The head is not one of a segment.
  var isForeign = false

  /// Reads a segment's file. What no frame follows is a torn end, and nobody was told that it is durable.
  init(_ bytes: [UInt8]) {
    guard bytes.count >= WriteAheadLog.headBytes, bytes.prefix(8).elementsEqual(WriteAheadLog.magic) else {
      isForeign = bytes.count >= WriteAheadLog.headBytes
      return
    }
    var index = WriteAheadLog.headBytes
    var lost = 0
    while index + WriteAheadLog.frameHeadBytes <= bytes.count {
      if let frame = Self.frame(bytes, index) {
        frames.append(frame)
        index = frame.endIndex
        length = index
        lostBytes += lost
        lost = 0
      } else {
        // A frame whose length is damaged hides where the next begins: look for it.
        index += 1
        lost += 1
        while index < bytes.count, bytes[index] != WriteAheadLog.frameMagic[0] {
          index += 1
          lost += 1
        }
      }
    }
  }

  private static func frame(_ bytes: [UInt8], _ index: Int) -> ArraySlice<UInt8>? {
    guard bytes[index..<(index + 4)].elementsEqual(WriteAheadLog.frameMagic) else { return nil }
    var reader = ByteReader(bytes[(index + 4)...])
    guard let count = try? reader.u32(), let crc = try? reader.u32(), let payload = try? reader.raw(Int(count)),
      Deflate.crc(payload) == crc
    else { return nil }
    return payload
  }
}
