import ClusterAPI
import ClusterModel

/// What bounds a call once it left the queue: its whole time, the time to the head of its answer, and the time between
/// two pieces of it. Functions without the latter two cost a comparison.
extension Call {
  /// The pod has the whole request: from now on it is to blame when no answer begins.
  func awaitAnswer() {
    guard request.info.responseStart != .max, !responseStarted else { return }
    stageDue = monotonicNow() &+ request.info.responseStart &+ allowance
    client?.setDeadline(min(totalDue, stageDue))
  }

  /// The head of the answer came.
  func answerBegan(_ now: Int64) {
    guard request.info.responseIdle != .max else {
      stageDue = .max
      return
    }
    lastPiece = now
    stageDue = now &+ request.info.responseIdle
    client?.setDeadline(min(totalDue, stageDue))
  }

  /// Bytes of the answer came, or can be taken again. The timer finds out when it fires.
  func noteProgress() {
    if request.info.responseIdle != .max, responseStarted { lastPiece = monotonicNow() }
  }

  /// Something may be due: gives the call up, or says when to look again.
  func checkTime(_ now: Int64) {
    guard !isDone else { return }
    if totalDue <= now { return totalOver() }
    if stageDue <= now {
      let component = "pod \(assignment?.endpoint.pod ?? "?")"
      let route = request.info.route
      guard responseStarted else {
        return giveUp(
          .responseStartTimeout,
          "no answer began within \(route.responseStart ?? route.timeout) (spec.timeouts.responseStart); raise it, or "
            + "take it out of the manifest to have spec.timeout (\(route.timeout)) alone", component: component)
      }
      // While the client takes nothing the pod is not read, and not to blame.
      if client?.clientIsWritable == false { lastPiece = now }
      stageDue = lastPiece &+ request.info.responseIdle
      guard stageDue > now else {
        return giveUp(
          .idleTimeout,
          "no byte of the answer for \(route.responseIdle ?? route.timeout) (spec.timeouts.responseIdle); raise it, or "
            + "let the function write something in between", component: component)
      }
    }
    client?.setDeadline(min(totalDue, stageDue))
  }

  private func totalOver() {
    let component = assignment.map { "pod \($0.endpoint.pod)" } ?? "gateway"
    let own = request.info.route.timeout
    if assignment != nil, !isInPod {
      return giveUp(
        .queueTimeout,
        "no pod read the call within spec.timeout (\(own)): those it was sent to ended before, \(record.retries) in all",
        component: component)
    }
    guard totalDue == request.limit else {
      let most = Limits.timeoutMaximum
      return giveUp(
        .functionTimeout, "spec.timeout (\(own)) reached; the manifest may raise it to \(most)", component: component)
    }
    let granted = TimeSpan(milliseconds: (request.limit &- request.arrived) / 1_000_000)
    let place = assignment == nil ? " while it waited for a pod" : ""
    giveUp(
      .functionTimeout, "X-Timeout (\(granted)) reached\(place); the caller set it, spec.timeout is \(own)",
      component: component)
  }
}
