import ClusterAPI
import ClusterModel
import FoundationEssentials
import Synchronization

/// Checks that what a worker ships is about its own pods.
///
/// A worker may be another tenant's machine that was taken over: it must not write lines of pods on other nodes. The
/// worker's own writer puts the members `namespace … node` side by side behind the time; those bytes are checked once
/// for each pod and compared from then on. A line that names anything else is replaced by `[]`, which the log service
/// refuses and counts: dropping it would shift the numbers of the lines behind it.
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
    for (index, line) in lines.enumerated() {
      if let head = Self.head(of: line).map({ Array(node.utf8) + [10] + $0 }) {
        if known.withLock({ $0.contains(head) }) { continue }
        if await mayWrite(line, node) {
          known.withLock { known in
            if known.count >= Self.headsMax { known.removeAll() }
            known.insert(head)
          }
          continue
        }
      } else if await mayWrite(line, node) {
        continue
      }
      result[index] = Self.refused
    }
    return result
  }

  private func mayWrite(_ line: [UInt8], _ node: String) async -> Bool {
    guard let record = try? JSONDecoder().decode(LogRecord.self, from: Data(line)), record.node == node else {
      return false
    }
    switch record.stream {
    case .stdout, .stderr: break
    case .platform: if record.pod.isEmpty { return true }
    case .access, .event: return false
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

  /// The members from `namespace` to `stream` as the worker's writer puts them; nil for another order.
  private static func head(of line: [UInt8]) -> [UInt8]? {
    let from = 41
    guard line.count > from + start.count, line[..<timeMember.count].elementsEqual(timeMember),
      line[(from - 1)..<(from - 1 + start.count)].elementsEqual(start)
    else { return nil }
    var at = from
    while at + end.count <= min(line.count, 600) {
      if line[at] == end[0], line[at..<at + end.count].elementsEqual(end) { return Array(line[from..<at]) }
      at += 1
    }
    return nil
  }
}
