import ClusterModel

/// A Kubernetes `Table` as the server sends it: columns by priority, rows with cells and the object's metadata.
struct ServerTable {
  /// One row.
  struct Row: Hashable {
    /// Tells the rows of a watch apart: the object's uid, or namespace and name.
    let identity: String
    /// The object's namespace; empty for cluster-wide kinds.
    let namespace: String
    /// The object's name.
    let name: String
    /// The cells as text, one a column.
    let cells: [String]
  }

  /// The columns; those of a priority above 0 show only with `-o wide`.
  var columns: [TextTable.Column]
  /// The rows.
  var rows: [Row]
  /// Where a watch goes on.
  var resourceVersion: String?
  /// The token of the next page.
  var continueToken: String?

  /// A table from the wire; columns are empty in the later events of a watch.
  init(_ value: JSONValue) {
    columns = (value["columnDefinitions"]?.arrayValue ?? []).map {
      TextTable.Column(($0["name"]?.stringValue ?? "").uppercased(), wide: ($0["priority"]?.intValue ?? 0) > 0)
    }
    rows = (value["rows"]?.arrayValue ?? []).map { row in
      let metadata = row["object"]?["metadata"]
      let namespace = metadata?["namespace"]?.stringValue ?? ""
      let name = metadata?["name"]?.stringValue ?? ""
      return Row(
        identity: metadata?["uid"]?.stringValue ?? "\(namespace)/\(name)", namespace: namespace, name: name,
        cells: (row["cells"]?.arrayValue ?? []).map(LogText.plain))
    }
    resourceVersion = value["metadata"]?["resourceVersion"]?.stringValue
    continueToken = value["metadata"]?["continue"]?.stringValue
  }

  /// The table for a terminal; with `namespaces`, a first column names each row's.
  func text(namespaces: Bool) -> TextTable {
    let head = namespaces ? [TextTable.Column("NAMESPACE")] : []
    return TextTable(columns: head + columns, rows: rows.map { (namespaces ? [$0.namespace] : []) + $0.cells })
  }
}

/// A table that follows a watch: which rows there are now, and what to draw after each change.
struct WatchedTable {
  /// How a change is shown.
  enum Style {
    /// A line for each change, as into a file or a pipe.
    case lines
    /// The whole table drawn over the one before; at most so many lines.
    case redraw(lines: Int)
  }

  private var table: ServerTable
  private let style: Style
  private let namespaces: Bool
  private let wide: Bool
  private var drawn = 0
  private var widths: [Int] = []

  /// A watched table that starts from a listed one.
  init(_ table: ServerTable, style: Style, namespaces: Bool, wide: Bool) {
    self.table = table
    self.style = style
    self.namespaces = namespaces
    self.wide = wide
  }

  /// What is written first.
  mutating func start() -> String {
    let text = table.text(namespaces: namespaces)
    widths = text.widths()
    let lines = text.lines(wide: wide)
    drawn = lines.count
    return lines.map { $0 + "\n" }.joined()
  }

  /// Takes one event and answers what is written for it.
  mutating func apply(type: String, _ change: ServerTable) -> String {
    if !change.columns.isEmpty { table.columns = change.columns }
    guard type != "BOOKMARK", !change.rows.isEmpty else { return "" }
    var change = change
    // A change that shows nothing new is no line: figures that do not stand in a column change often.
    change.rows.removeAll { row in type != "DELETED" && table.rows.contains(row) }
    if change.rows.isEmpty { return "" }
    for row in change.rows {
      let index = table.rows.firstIndex { $0.identity == row.identity }
      switch (type, index) {
      case ("DELETED", let index?): table.rows.remove(at: index)
      case ("DELETED", nil): break
      case (_, let index?): table.rows[index] = row
      case (_, nil): table.rows.append(row)
      }
    }
    switch style {
    case .redraw(let most) where table.rows.count + 1 < most: return redrawn()
    default:
      var only = change
      only.columns = table.columns
      let text = only.text(namespaces: namespaces)
      widths = text.widths(least: widths)
      return text.lines(wide: wide, heading: false, widths: widths).map { $0 + "\n" }.joined()
    }
  }

  /// Takes a table that was listed anew, as after a broken watch.
  mutating func replace(_ table: ServerTable) -> String {
    self.table = table
    if case .redraw(let most) = style, table.rows.count + 1 < most { return redrawn() }
    return start()
  }

  private mutating func redrawn() -> String {
    let lines = table.text(namespaces: namespaces).lines(wide: wide)
    let up = drawn > 0 ? "\u{1B}[\(drawn)A" : ""
    drawn = lines.count
    return up + "\r" + lines.map { $0 + "\u{1B}[K\n" }.joined() + "\u{1B}[J"
  }
}
