/// How a query would be answered, for people: what each step is and what it leaves.
package struct LogPlan: Sendable, Equatable {
  /// One sentence a step, in the order of the work.
  package var steps: [String]
}

extension LogStore {
  /// Plans a query without reading a record; the filters of blocks are looked at.
  package func explain(_ query: LogQuery, scope: LogScope) -> LogPlan {
    let query = bounded(query)
    let view = view()
    let pruning = Pruning(query, scope: scope)
    var steps = ["time: \(Self.span(pruning.range))"]
    if let levels = pruning.levels {
      steps.append(
        "levels: \(RecordLevel.allCases.filter { levels >> $0.rawValue & 1 != 0 }.map(\.name).joined(separator: ", "))")
    }
    for (field, texts) in pruning.texts.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      let names = texts.map { String(decoding: $0, as: UTF8.self) }.sorted().prefix(10)
      steps.append("\(field.rawValue): \(names.joined(separator: ", ")), looked for before anything else in a block")
    }
    let planned = QuerySource.planned(view, query, scope: scope)
    var (memory, blocks, memoryRows, blockRows) = (0, [BlockEntry](), 0, 0)
    for source in planned {
      switch source.body {
      case .memtable(let table):
        memory += 1
        memoryRows += table.readable.rows
      case .block(let entry):
        blocks.append(entry)
        blockRows += entry.rows
      }
    }
    steps.append("\(blocks.count) of \(view.blocks.count) blocks by time and level, of \(blockRows) records")
    if memory > 0 { steps.append("\(memoryRows) records in memory are looked at one by one") }
    if let stats = query.stats, let plan = RollupPlan(query, [stats], scope: scope) {
      let counted = blocks.filter { plan.covers($0) && rollup(of: $0) != nil }
      steps.append("\(counted.count) blocks are answered from their counts by minute and not opened")
      blocks.removeAll { counted.contains($0) }
    }
    let probes = BloomProbes(query.filter)
    if probes.lists.isEmpty {
      steps.append("filters: the query has no whole word or value that they know")
    } else {
      blocks = blocks.filter { mayHold($0, probes) }
      steps.append("\(blocks.count) blocks after filters of \(probes.lists.count) words or values")
    }
    steps.append(
      "\(blocks.reduce(0) { $0 + $1.rows }) records in \(blocks.count) blocks are searched, column by column")
    steps += Self.searches(query.filter)
    if let stats = query.stats {
      steps.append("rows of \(stats.columns.joined(separator: ", "))")
    } else if !query.order.isEmpty {
      steps.append("all that match are put in order by \(query.order.map { "\($0.field)" }.joined(separator: ", "))")
    } else {
      steps.append("newest first\(query.limit.map { ", ending with the \($0)th" } ?? "")")
    }
    return LogPlan(steps: steps)
  }

  private static func span(_ range: TimeRange) -> String {
    switch (range.since, range.until) {
    case (nil, nil): "all"
    case (let since?, nil): "from \(RecordTime.text(since))"
    case (nil, let until?): "before \(RecordTime.text(until))"
    case (let since?, let until?): "from \(RecordTime.text(since)) to before \(RecordTime.text(until))"
    }
  }

  /// What is worth to know of single filters.
  private static func searches(_ filter: LogFilter) -> [String] {
    switch filter {
    case .all(let filters), .any(let filters): return filters.flatMap { searches($0) }
    case .not(let filter): return searches(filter)
    case .text: return ["words: each template of a block is looked at once, then the messages whose variables decide"]
    case .regex(let filter):
      let lists = filter.program.literals.lists.map { choices in
        choices.map { "'\(String(decoding: $0, as: UTF8.self))'" }.joined(separator: " or ")
      }
      let needs = lists.isEmpty ? "needs no text that is known" : "needs \(lists.joined(separator: " and "))"
      return ["/\(String(decoding: filter.pattern, as: UTF8.self))/ of \(filter.field): \(needs)"]
    default: return []
    }
  }
}
