/// Waits until a condition holds, looking again with growing pauses; answers whether it did within the time.
///
/// Level-triggered and bounded: the condition is about a state, so a change between two looks is not missed.
package func eventually(
  within limit: Duration = .seconds(30), _ condition: @Sendable () async throws -> Bool
) async rethrows -> Bool {
  let clock = ContinuousClock()
  let end = clock.now.advanced(by: limit)
  var pause = Duration.milliseconds(1)
  while true {
    if try await condition() { return true }
    if clock.now >= end { return false }
    try? await Task.sleep(for: pause)
    pause = min(pause * 2, .milliseconds(50))
  }
}
