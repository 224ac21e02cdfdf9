/// Makes the file of a memtable's block and reads it back before anything relies on it.
struct BlockMaker {
  /// The file of a memtable's records; with `true`, of whole lines that are not taken apart.
  typealias Write = (_ keepsLines: Bool) -> [UInt8]

  /// Writes a memtable's block; answers what the catalogue is to know of it.
  static func store(
    _ table: Memtable, workers: [String: UInt64], in folder: StoreFile, _ options: LogIndexOptions
  ) throws -> (entry: BlockEntry, rollup: Rollup?) {
    let (bytes, block) = try file(table, workers: workers, options)
    let name = BlockEntry.name(firstID: table.firstID, rows: table.readable.rows)
    try folder.write(bytes, to: name)
    let arrivals = try block.arrivals()
    let rollup = try Rollup(block) { Int(table.row(Int(arrivals[$0])).length) }
    return (BlockEntry(name: name, fileBytes: bytes.count, block.header), rollup)
  }

  /// A file that holds every record of the memtable. When the columns do not give them back the lines are kept whole,
  /// and that is reported: it costs space, and no record. Throws when that fails too.
  static func file(
    _ table: Memtable, workers: [String: UInt64], _ options: LogIndexOptions
  ) throws(BlockFault) -> (bytes: [UInt8], block: Block) {
    try file(table, notice: options.notice) { keepsLines in
      var writer = BlockWriter(table, level: options.compression, keepsLines: keepsLines)
      return writer.file(workers: workers)
    }
  }

  static func file(
    _ table: Memtable, notice: (String) -> Void, _ write: Write
  ) throws(BlockFault) -> (bytes: [UInt8], block: Block) {
    let bytes = write(false)
    do throws(BlockFault) { return (bytes, try checked(bytes, table)) } catch {
      notice(
        "a block of \(table.readable.rows) log records cannot be read back because \(error); its lines are kept "
          + "whole instead, and none is lost. This is a fault of the program: please report it")
    }
    let plain = write(true)
    return (plain, try checked(plain, table))
  }

  private static func checked(_ bytes: [UInt8], _ table: Memtable) throws(BlockFault) -> Block {
    let block = try Block(bytes: bytes)
    try block.check(holds: table)
    return block
  }
}
