package import LogIndex

/// The log service's figures as Prometheus text.
package enum LogMetrics {
  /// One gauge or counter a figure.
  package static func text(_ figures: LogFigures) -> String {
    let rows: [(String, String, String, Int64)] = [
      ("apus_log_records", "gauge", "Log records held.", figures.records),
      ("apus_log_record_bytes", "gauge", "Bytes of the log records held, as they were sent.", figures.recordBytes),
      ("apus_log_disk_bytes", "gauge", "Bytes of the log store's files.", figures.diskBytes),
      ("apus_log_rejected_total", "counter", "Lines refused because they were no records.", figures.rejected),
      ("apus_log_skipped_total", "counter", "Lines their senders gave up.", figures.skipped),
      ("apus_log_tails", "gauge", "Live tails.", Int64(figures.tails)),
      (
        "apus_log_tail_dropped_total", "counter", "Records dropped by live tails with slow readers.",
        figures.tailDropped
      ),
    ]
    return rows.map { "# HELP \($0.0) \($0.2)\n# TYPE \($0.0) \($0.1)\n\($0.0) \($0.3)\n" }.joined()
  }
}
