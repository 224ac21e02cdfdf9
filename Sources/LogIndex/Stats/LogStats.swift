/// What `| stats` asks for: functions over the matching records, by fields and by spans of time.
package struct LogStats: Sendable, Equatable {
  /// A function's kind.
  package enum Kind: Sendable, Hashable {
    /// How many records; with a field, how many have it.
    case count
    /// The field's numbers, added, and so on.
    case sum, min, max, avg
    /// The nearest-rank percentile, 1…99.
    case percentile(Int)

    init?(name: String) {
      switch name {
      case "count": self = .count
      case "sum": self = .sum
      case "min": self = .min
      case "max": self = .max
      case "avg": self = .avg
      default:
        guard name.first == "p", name.utf8.count <= 3, let rank = Int(name.dropFirst()), rank >= 1, rank <= 99 else {
          return nil
        }
        self = .percentile(rank)
      }
    }

    var name: String {
      switch self {
      case .count: "count"
      case .sum: "sum"
      case .min: "min"
      case .max: "max"
      case .avg: "avg"
      case .percentile(let rank): "p\(rank)"
      }
    }
  }

  /// One column of results.
  package struct Function: Sendable, Equatable {
    /// What to compute.
    package var kind: Kind
    /// Of which field; nil for `count()`.
    package var field: LogField?
    /// The name after `as`.
    package var alias: String?

    /// The column's name: the alias, or the function as it is written.
    package var name: String { alias ?? "\(kind.name)(\(field.map { "\($0)" } ?? ""))" }
  }

  /// One column to order the rows by.
  package struct Order: Sendable, Equatable {
    /// Its index in `columns`.
    package var column: Int
    /// Largest first.
    package var isDescending: Bool
  }

  /// The functions, one column each.
  package var functions: [Function]
  /// The fields records are grouped by.
  package var keys: [LogField] = []
  /// The length of a span of time in nanoseconds; spans begin at its multiples since 1970. Nil for one span.
  package var bucket: Int64?
  /// The order of the rows; without it by time, then by the keys.
  package var order: [Order] = []

  init(functions: [Function]) { self.functions = functions }

  /// The names of a row's columns: `time` when there are spans, the keys, the functions.
  package var columns: [String] { (bucket == nil ? [] : ["time"]) + keys.map(\.description) + functions.map(\.name) }

  func column(named name: String) -> Int? { columns.firstIndex(of: name) }
}

/// One value of a row.
package enum LogStatValue: Sendable, Equatable {
  /// Nothing: the key is absent, or no record had a number.
  case none
  /// A key's text.
  case text(String)
  /// A number of records.
  case count(Int)
  /// A computed number.
  case number(Double)
  /// The start of a span, nanoseconds since 1970.
  case time(Int64)

  /// Appends the value as JSON.
  func append(to output: inout [UInt8]) {
    switch self {
    case .none: output += "null".utf8
    case .text(let text): JSONText.appendQuoted(text.utf8, to: &output)
    case .count(let count): output += String(count).utf8
    case .number(let number): output += Self.spelled(number).utf8
    case .time(let time): JSONText.appendQuoted(RecordTime.text(time).utf8, to: &output)
    }
  }

  private static func spelled(_ number: Double) -> String {
    guard number.isFinite else { return "null" }
    if number == number.rounded(), abs(number) < 1e15 { return String(Int64(number)) }
    return "\(number)"
  }
}

/// One row of statistics, a value a column.
package struct LogStatRow: Sendable, Equatable {
  /// The values, in the order of `LogStats.columns`.
  package var values: [LogStatValue]

  /// The row as one line of JSON, without the line break.
  package func json(columns: [String]) -> [UInt8] {
    var output: [UInt8] = [0x7B]
    for (column, value) in zip(columns, values) {
      if output.count > 1 { output.append(0x2C) }
      JSONText.appendQuoted(column.utf8, to: &output)
      output.append(0x3A)
      value.append(to: &output)
    }
    output.append(0x7D)
    return output
  }
}

/// The answer to a statistics query.
package struct LogStatResult: Sendable, Equatable {
  /// The names of the columns.
  package var columns: [String]
  /// The rows.
  package var rows: [LogStatRow]
  /// The records read.
  package var scanned: Int
  /// Why the answer is not of all records, when it is not.
  package var truncated: LogTruncation?
  /// Of a cut answer: it is that of the records from this moment on; nanoseconds since 1970.
  package var completeSince: Int64?
}

/// The same, with rows that are put into words as they are sent.
package struct LogStatAnswer: Sendable {
  /// The rows.
  package var lines: LogStatLines
  /// The records read.
  package var scanned: Int
  /// Why the answer is not of all records, when it is not.
  package var truncated: LogTruncation?
  /// Of a cut answer: it is that of the records from this moment on; nanoseconds since 1970.
  package var completeSince: Int64?
}
