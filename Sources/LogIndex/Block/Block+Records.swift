extension Block {
  /// A record's bytes, exactly as they came.
  func record(_ row: Int) throws(BlockFault) -> [UInt8] {
    let rows = try rows()
    let shape = shapes[Int(rows.shapes[row])]
    var output: [UInt8] = []
    output.reserveCapacity(512)
    for (number, slot) in shape.slots.enumerated() {
      output += shape.gaps[number]
      if SlotKind.isTime(slot.kind) {
        RecordTime.append(try times()[row], digits: Int(slot.kind - SlotKind.time), to: &output)
      } else {
        try column(slot.column).append(rows.ordinal(row, slot.column), row: row, of: self, to: &output)
      }
    }
    output += shape.gaps[shape.slots.count]
    return output
  }

  /// A record's number among all that ever arrived.
  func id(_ row: Int) throws(BlockFault) -> Int64 { header.firstID + Int64(try arrivals()[row]) }

  /// Where a record stands in the order of answers.
  func position(_ row: Int) throws(BlockFault) -> LogPosition {
    LogPosition(time: try times()[row], id: try id(row))
  }
}
