package import ClusterModel
import Foundation
import Yams

/// Reads manifests: one YAML (or JSON) document with a map at its top, plain values only.
///
/// Plain scalars are read as YAML 1.2 does: `true` and `false` are booleans, `yes` and `NO` are text.
package enum ManifestReader {
  /// Largest manifest in bytes.
  package static let bytesMax = 256 << 10
  /// Most values in a manifest, those that aliases repeat included.
  package static let valuesMax = 20_000
  /// Deepest nesting.
  package static let depthMax = 32
  /// Most anchors, and most aliases.
  package static let aliasesMax = 32

  /// Reads a function's manifest file and checks it completely; defaults are written in. An image may stand without
  /// its digest: deploying looks that up.
  package static func readFunction(
    _ path: String
  ) throws(ManifestError) -> (function: Function, manifest: Manifest) {
    let manifest = try read(path)
    switch Admission.admit(function: manifest.value, movingImage: true) {
    case .success(let function): return (function, manifest)
    case .failure(let faults): throw manifest.error(faults.all)
    }
  }

  /// Reads a manifest file.
  package static func read(_ path: String) throws(ManifestError) -> Manifest {
    let data: Data
    do {
      let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
      defer { try? file.close() }
      data = try file.read(upToCount: bytesMax + 1) ?? Data()
    } catch {
      let reason =
        (error as? CocoaError)?.code == .fileReadNoSuchFile || (error as? CocoaError)?.code == .fileNoSuchFile
        ? "no such file; apus new NAME makes a folder with one" : "cannot be read: \(error.localizedDescription)"
      throw .unreadable(file: path, reason: reason)
    }
    guard data.count <= bytesMax else {
      throw .unreadable(file: path, reason: "is larger than \(bytesMax) bytes; a manifest is small")
    }
    guard let text = String(validating: data, as: UTF8.self) else {
      throw .unreadable(file: path, reason: "is not UTF-8 text")
    }
    return try parse(text, file: path)
  }

  /// Reads the text of a manifest; `file` is how errors call it.
  package static func parse(_ text: String, file: String) throws(ManifestError) -> Manifest {
    guard text.utf8.count <= bytesMax else {
      throw .unreadable(file: file, reason: "is larger than \(bytesMax) bytes; a manifest is small")
    }
    try checkAliases(text, file: file)
    guard let root = try compose(text, file: file) else {
      throw .syntax(file: file, line: 1, reason: "is empty; a manifest begins with apiVersion, kind and metadata")
    }
    guard root.mapping != nil else {
      let line = root.mark?.line ?? 1
      throw .syntax(file: file, line: line, reason: "must be a map (name: value) at the top, not a list or a value")
    }
    var tree = ManifestTree(file: file)
    let value = try tree.value(of: root, path: "", depth: 0, line: 1)
    return Manifest(file: file, value: value, lines: tree.lines)
  }

  private static func compose(_ text: String, file: String) throws(ManifestError) -> Yams.Node? {
    do {
      return try Parser(yaml: text, encoding: .utf8).singleRoot()
    } catch let error as YamlError {
      throw describe(error, text, file)
    } catch {
      throw .syntax(file: file, line: 1, reason: "\(error)")
    }
  }

  private static func describe(_ error: YamlError, _ text: String, _ file: String) -> ManifestError {
    switch error {
    case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
      .composer(let context, let problem, let mark, _):
      let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
      let line = min(max(mark.line, 1), max(lines.count, 1))
      let indentation = lines.isEmpty ? "" : lines[line - 1].prefix { $0 == " " || $0 == "\t" }
      if indentation.contains("\t") {
        return .syntax(file: file, line: line, reason: "a tab indents this line; use spaces")
      }
      if problem.contains("another document") {
        return .syntax(file: file, line: line, reason: "a second document begins; a manifest is one document")
      }
      let around = context.map { " (\($0.text.trimmingCharacters(in: .whitespaces)))" } ?? ""
      return .syntax(file: file, line: line, reason: problem + around)
    case .duplicatedKeysInMapping(let duplicates, let context):
      let keys = duplicates.map { "'\($0)'" }.joined(separator: ", ")
      return .syntax(file: file, line: max(context.mark.line, 1), reason: "the key \(keys) is there twice; keep one")
    case .reader(let problem, let offset, _, _):
      let before = text.utf8.prefix(offset ?? 0).count { $0 == 0x0a }
      return .syntax(file: file, line: before + 1, reason: "\(problem); a manifest is plain text")
    default: return .syntax(file: file, line: 1, reason: "\(error)")
    }
  }

  /// Counts what looks like an anchor or an alias before anything is expanded: few of them cannot grow large.
  private static func checkAliases(_ text: String, file: String) throws(ManifestError) {
    var counts: [UInt8: Int] = [:]
    var previous: UInt8 = 0x0a
    var line = 1
    for byte in text.utf8 {
      if byte == UInt8(ascii: "&") || byte == UInt8(ascii: "*"), Self.opensToken.contains(previous) {
        counts[byte, default: 0] += 1
        if counts[byte, default: 0] > aliasesMax {
          throw .syntax(
            file: file, line: line, reason: "more than \(aliasesMax) anchors or aliases; write the values out")
        }
      }
      if byte == 0x0a { line += 1 }
      previous = byte
    }
  }

  private static let opensToken = Set(" \t\n\r[]{},:-?".utf8)
}

/// Turns Yams' nodes into values and notes the line of each.
private struct ManifestTree {
  let file: String
  private(set) var lines: [String: Int] = [:]
  private var count = 0

  init(file: String) {
    self.file = file
  }

  mutating func value(of node: Yams.Node, path: String, depth: Int, line above: Int) throws(ManifestError) -> JSONValue
  {
    let line = node.mark?.line ?? above
    count += 1
    guard count <= ManifestReader.valuesMax else {
      throw .syntax(
        file: file, line: line, reason: "more than \(ManifestReader.valuesMax) values; aliases count each time")
    }
    guard depth <= ManifestReader.depthMax else {
      throw .syntax(file: file, line: line, reason: "nested deeper than \(ManifestReader.depthMax) levels")
    }
    if lines[path] == nil { lines[path] = line }
    switch node {
    case .scalar(let scalar): return try self.scalar(scalar, line: line)
    case .sequence(let sequence):
      var elements: [JSONValue] = []
      for (index, element) in sequence.enumerated() {
        elements.append(try value(of: element, path: "\(path)[\(index)]", depth: depth + 1, line: line))
      }
      return .array(elements)
    case .mapping(let mapping):
      var members: [String: JSONValue] = [:]
      for (key, element) in mapping {
        let keyLine = key.mark?.line ?? line
        guard let name = key.scalar?.string else {
          throw .syntax(file: file, line: keyLine, reason: "a key must be plain text")
        }
        guard name != "<<" else {
          throw .syntax(file: file, line: keyLine, reason: "merge keys (<<) are not read; write the values out")
        }
        let inner = path.isEmpty ? name : "\(path).\(name)"
        lines[inner] = keyLine
        guard members[name] == nil else {
          throw .syntax(file: file, line: keyLine, reason: "the key '\(name)' is there twice; keep one")
        }
        members[name] = try value(of: element, path: inner, depth: depth + 1, line: keyLine)
      }
      return .object(members)
    case .alias: throw .syntax(file: file, line: line, reason: "an alias leads nowhere")
    }
  }

  private func scalar(_ scalar: Yams.Node.Scalar, line: Int) throws(ManifestError) -> JSONValue {
    let tag = scalar.tag.description
    switch tag {
    case "tag:yaml.org,2002:str": return .string(scalar.string)
    case "", "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool", "tag:yaml.org,2002:int",
      "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:merge", "tag:yaml.org,2002:value",
      "!":
      break
    default: throw .syntax(file: file, line: line, reason: "the tag \(tag) is not read; write a plain value")
    }
    if scalar.style != .plain && scalar.style != .any { return .string(scalar.string) }
    return Self.plain(scalar.string)
  }

  /// A plain scalar by the rules of YAML 1.2's core schema.
  private static func plain(_ text: String) -> JSONValue {
    switch text {
    case "", "~", "null", "Null", "NULL": return .null
    case "true", "True", "TRUE": return .bool(true)
    case "false", "False", "FALSE": return .bool(false)
    default: break
    }
    let digits =
      text.utf8.first == UInt8(ascii: "-") || text.utf8.first == UInt8(ascii: "+") ? text.dropFirst() : text[...]
    guard let first = digits.utf8.first, (0x30...0x39).contains(first) || first == UInt8(ascii: ".") else {
      return .string(text)
    }
    if digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int64(text) { return .int(number) }
    if text.hasPrefix("0x"), let number = Int64(text.dropFirst(2), radix: 16) { return .int(number) }
    if text.hasPrefix("0o"), let number = Int64(text.dropFirst(2), radix: 8) { return .int(number) }
    let isNumeric = digits.utf8.allSatisfy { (0x30...0x39).contains($0) || "+-.eE".utf8.contains($0) }
    if isNumeric, let number = Double(text), number.isFinite { return .double(number) }
    return .string(text)
  }
}
