internal import LogIndex

/// The log service's figures as Prometheus text.
enum LogMetrics {
  /// One gauge or counter a figure.
  static func text(_ figures: LogFigures, parts: LogParts, sums: LogCounters.Sums, running: Int) -> String {
    let rows: [(String, String, String, Int64)] = [
      ("apus_log_records", "gauge", "Log records held.", figures.records),
      ("apus_log_record_bytes", "gauge", "Bytes of the log records held, as they were sent.", figures.recordBytes),
      ("apus_log_disk_bytes", "gauge", "Bytes of the log store's files.", figures.diskBytes),
      ("apus_log_blocks", "gauge", "Blocks of columns.", Int64(parts.blocks)),
      ("apus_log_index_bytes", "gauge", "Bytes of the blocks.", parts.blockBytes),
      ("apus_log_wal_bytes", "gauge", "Bytes of the write-ahead log.", parts.walBytes),
      ("apus_log_memory_records", "gauge", "Log records in memory, not yet in a block.", Int64(parts.memoryRecords)),
      ("apus_log_blocks_damaged_total", "counter", "Blocks set aside because they were damaged.", Int64(parts.damaged)),
      ("apus_log_rejected_total", "counter", "Lines refused because they were no records.", figures.rejected),
      ("apus_log_skipped_total", "counter", "Lines their senders gave up.", figures.skipped),
      ("apus_log_tails", "gauge", "Live tails.", Int64(figures.tails)),
      ("apus_log_tails_total", "counter", "Live tails begun.", sums.follows),
      (
        "apus_log_tail_dropped_total", "counter", "Records dropped by live tails with slow readers.",
        figures.tailDropped
      ),
      ("apus_log_queries_running", "gauge", "Queries that run now.", Int64(running)),
      ("apus_log_queries_total", "counter", "Queries answered.", sums.queries),
      ("apus_log_queries_cut_total", "counter", "Queries whose answer the bounds cut.", sums.queriesCut),
      ("apus_log_queries_refused_total", "counter", "Queries refused because too many ran.", sums.queriesRefused),
    ]
    let single = rows.map { "# HELP \($0.0) \($0.2)\n# TYPE \($0.0) \($0.1)\n\($0.0) \($0.3)\n" }.joined()
    return single + drops(sums)
      + family("apus_log_lines_total", "Lines taken, by the way they came.", sums) { $0.lines }
      + family("apus_log_bytes_total", "Bytes of the lines taken, by the way they came.", sums) { $0.bytes }
      + family("apus_log_refused_total", "Lines not taken, their senders told, by the way they came.", sums) {
        $0.refused
      }
  }

  private static func drops(_ sums: LogCounters.Sums) -> String {
    let name = "apus_log_dropped_total"
    let head = "# HELP \(name) Lines that workers dropped, by function: too many in a second, or a full spool.\n"
    let rows = sums.dropped.map { drop, count in
      "\(name){namespace=\"\(drop.namespace)\",function=\"\(drop.function)\",cause=\"\(drop.cause)\"} \(count)\n"
    }
    return head + "# TYPE \(name) counter\n" + rows.sorted().joined()
  }

  private static func family(
    _ name: String, _ help: String, _ sums: LogCounters.Sums, _ value: (LogCounters.Pushed) -> Int64
  ) -> String {
    "# HELP \(name) \(help)\n# TYPE \(name) counter\n"
      + LogCounters.Entrance.allCases.map { entrance in
        "\(name){from=\"\(entrance.rawValue)\"} \(value(sums.pushed[entrance] ?? LogCounters.Pushed()))\n"
      }.joined()
  }
}
