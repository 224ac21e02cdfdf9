import ClusterAPI
import ClusterModel

/// Follows a written function until its revision serves, or could not.
struct Rollout {
  /// How long is waited beyond three starts of the function, milliseconds.
  static let patienceBeyondStarts: Int64 = 30_000

  /// How long is waited for an image to be pulled beyond that, milliseconds.
  static let patienceForImages: Int64 = 600_000

  /// The cluster.
  let cluster: ClusterConnection
  /// The namespace.
  let namespace: String
  /// The function as it was written.
  let function: Function

  /// Where a rollout stands.
  enum Stage: Hashable {
    /// Nothing is decided; the words say what is waited for.
    case waiting(String)
    /// The revision serves.
    case ready(String)
    /// It does not; the words say why, and end with the last lines written.
    case failed(String)
  }

  /// Where the rollout of a generation stands, from the function as it is now.
  static func stage(of function: Function, generation: Int64) -> Stage {
    let ready = function.status?.conditions.first { $0.type == "Ready" }
    let name = function.metadata.name
    if ready?.reason == "SourceMissing", function.metadata.generation == generation {
      return .failed(ready?.message ?? "its package is missing")
    }
    guard let status = function.status, (status.observedGeneration ?? 0) >= generation else {
      return .waiting("\(name): a revision is made")
    }
    let latest = status.latestRevision ?? ""
    if ready?.status == "True", status.servingRevision == latest, !latest.isEmpty { return .ready(latest) }
    if ready?.status == "False" { return .failed(ready?.message ?? "\(latest) could not start") }
    let words = ready?.message ?? ""
    return .waiting(words.hasPrefix(latest) && !words.isEmpty ? words : "\(latest): its first pod starts")
  }

  /// The line for a revision that serves; throws a `Failure` with the last lines written when it could not start.
  func ready() async throws -> String {
    let patience =
      function.spec.probes.startup.milliseconds * Int64(Limits.startAttempts) + Self.patienceBeyondStarts
      + (function.spec.image == nil ? 0 : Self.patienceForImages)
    let name = function.metadata.name
    let late = Failure(
      "\(name) is not ready after \(TimeSpan(milliseconds: patience))",
      next: "`apus describe function \(name)` shows what it waits for.")
    let revision = try await Progress.during("starting \(name)") { progress in
      try await Deadline.within(patience, else: late) { try await serving(progress) }
    }
    let pods = (try? await cluster.list(of: Pod.self, in: namespace, labels: .revision(revision))) ?? []
    return Rollout.line(revision: revision, pods: pods, url: cluster.url(of: name, in: namespace))
  }

  /// `ready      greet-00001 on worker-2 in 41 ms   URL`
  static func line(revision: String, pods: [Pod], url: String?) -> String {
    var line = "ready      \(revision)"
    // Uids rise with time: the newest pod that is ready, else the newest that was.
    let byAge = pods.sorted { ($0.metadata.uid ?? "") < ($1.metadata.uid ?? "") }
    let pod = byAge.last { $0.status.apus.life == .ready } ?? byAge.last { $0.status.apus.everReady == true }
    if let node = pod?.spec.nodeName { line += " on \(node)" }
    if let total = pod?.status.apus.startup?.total, total > 0 {
      line += " in \(total < 10 ? Figures.fixed(total, 1) : Figures.fixed(total, 0)) ms"
    }
    return url.map { line + "   \($0)" } ?? line
  }

  private func serving(_ progress: Progress) async throws -> String {
    let generation = function.metadata.generation ?? 1
    var options = ListOptions()
    options.fields = .name(function.metadata.name)
    while true {
      let events = try await cluster.resources.watch(.function, namespace: namespace, options: options, after: nil)
      do {
        for try await event in events {
          let object: JSONValue
          switch event {
          case .added(let value), .modified(let value): object = value
          case .deleted: throw Failure("\(function.metadata.name) was deleted meanwhile")
          case .bookmark: continue
          }
          guard let now = try? object.decoded(as: Function.self), now.metadata.uid == function.metadata.uid else {
            continue
          }
          switch Rollout.stage(of: now, generation: generation) {
          case .ready(let revision): return revision
          case .failed(let why): throw failure(why)
          case .waiting(let what): progress.say(what)
          }
        }
      } catch let status as APIStatus where [410, 503].contains(status.code) {
        continue
      }
      try Task.checkCancellation()
    }
  }

  private func failure(_ why: String) -> Failure {
    let name = function.metadata.name
    return Failure(
      why.split(separator: "\n", omittingEmptySubsequences: false).map { Text.visible(String($0)) }
        .joined(separator: "\n"),
      next: "`apus logs \(name) --since 10m` shows everything it wrote.")
  }
}
