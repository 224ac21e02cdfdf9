import ClusterAPI
import ClusterModel
import Synchronization

/// Checks that what a worker ships is about its own pods.
///
/// A worker may be another tenant's machine that was taken over: it must not write lines of pods on other nodes. The
/// worker's own writer puts the members `namespace … stream` side by side behind the time; those bytes are checked once
/// for each pod and compared from then on, and nothing behind them may say the same once more. A line that names anything
/// else is replaced by `[]`, which the log service refuses and counts: dropping it would shift the numbers of the lines
/// behind it.
package final class RecordStamp: Sendable {
  /// Checked heads that are remembered.
  static let headsMax = 20_000
  /// What stands for a line that was refused.
  static let refused: [UInt8] = Array("[]".utf8)

  private let known = Mutex<Set<[UInt8]>>([])
  private let owner: @Sendable (_ namespace: String, _ pod: String) async -> PodOwner?

  /// Who a pod belongs to, as the control plane's own table has it.
  package struct PodOwner: Hashable, Sendable {
    var node: String?
    var function: String
    var revision: String
  }

  /// A stamp over the control plane's table; `owner` answers nil for a pod that is not in it any more.
  init(owner: @escaping @Sendable (_ namespace: String, _ pod: String) async -> PodOwner?) { self.owner = owner }

  /// The lines of a node that may be kept, the others replaced.
  package func checked(_ lines: [[UInt8]], of node: String) async -> [[UInt8]] {
    var result = lines
    var key = Array(node.utf8) + [10]
    let nodeBytes = key.count
    for (index, line) in lines.enumerated() {
      let head = Self.head(of: line)
      if let head {
        key.removeLast(key.count - nodeBytes)
        key += line[head]
        if known.withLock({ $0.contains(key) }), RecordNames.areAbsent(in: line, behind: head.upperBound) { continue }
      }
      guard let names = RecordNames(line), await mayWrite(names, node) else {
        result[index] = Self.refused
        continue
      }
      // The head is known by what it says, all of it.
      if names.end == head?.upperBound {
        known.withLock { known in
          if known.count >= Self.headsMax { known.removeAll() }
          known.insert(key)
        }
      }
    }
    return result
  }

  private func mayWrite(_ record: RecordNames, _ node: String) async -> Bool {
    guard record.node == node else { return false }
    switch LogStream(rawValue: record.stream) {
    case .stdout, .stderr: break
    case .platform: if record.pod.isEmpty { return true }
    case .access, .event, nil: return false
    }
    // A pod's name carries its revision's, and that the function's: NAME-00001-abcde.
    guard record.pod.hasPrefix(record.revision + "-"), record.revision.hasPrefix(record.function + "-") else {
      return false
    }
    guard let owner = await owner(record.namespace, record.pod) else { return true }
    return owner.node == node && owner.function == record.function && owner.revision == record.revision
  }

  private static let timeMember = Array(#"{"time":""#.utf8)
  private static let start = Array(#","namespace":""#.utf8)
  private static let end = Array(#"","level":""#.utf8)

  /// The members from `namespace` to `stream` as the worker's writer puts them; nil for another order. The time before them
  /// is a plain text, so that they are at the line's top.
  private static func head(of line: [UInt8]) -> Range<Int>? {
    let from = 41
    guard line.count > from + start.count, line[..<timeMember.count].elementsEqual(timeMember),
      line[(from - 1)..<(from - 1 + start.count)].elementsEqual(start), line[from - 2] == 0x22,
      !line[timeMember.count..<(from - 2)].contains(where: { $0 == 0x22 || $0 == 0x5C })
    else { return nil }
    var at = from
    while at + end.count <= min(line.count, 600) {
      if line[at] == end[0], line[at..<at + end.count].elementsEqual(end) { return from..<at }
      at += 1
    }
    return nil
  }
}
