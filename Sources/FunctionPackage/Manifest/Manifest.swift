package import ClusterModel

/// A manifest as it was read: its values, and where each of them stands.
package struct Manifest: Sendable, Hashable {
  /// The file it came from, as it was named.
  package let file: String
  /// The document.
  package let value: JSONValue
  /// The line of each value by its path (`spec.command[0]`), counted from 1.
  package let lines: [String: Int]

  /// The line of a path; that of the nearest value around it when it is missing itself.
  package func line(of path: String) -> Int {
    var path = path[...]
    while !path.isEmpty {
      if let line = lines[String(path)] { return line }
      path = path.lastIndex { $0 == "." || $0 == "[" }.map { path[..<$0] } ?? ""
    }
    return lines[""] ?? 1
  }

  /// A fault as people see it: `bad/function.yaml:7: spec.resources.memory: …`.
  package func located(_ fault: Fault) -> String { "\(file):\(line(of: fault.path)): \(fault)" }

  /// Faults as an error that names their lines, in the order of the lines.
  package func error(_ faults: [Fault]) -> ManifestError {
    let sorted = faults.sorted { (line(of: $0.path), $0.path) < (line(of: $1.path), $1.path) }
    return .invalid(file: file, faults: sorted.map(located))
  }
}
