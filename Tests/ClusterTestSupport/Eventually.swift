/// Waits until a condition holds, looking again with growing pauses; answers whether it did within the time.
///
/// Level-triggered and bounded: the condition is about a state, so a change between two looks is not missed. A pause counts
/// as long as it was meant to last, and a look as a second at most: on a machine that gave this task no turn, what it waits
/// for had none either.
package func eventually(
  within limit: Duration = .seconds(30), _ condition: @Sendable () async throws -> Bool
) async rethrows -> Bool {
  let clock = ContinuousClock()
  var spent = Duration.zero
  var pause = Duration.milliseconds(1)
  while true {
    let begun = clock.now
    if try await condition() { return true }
    if spent >= limit { return false }
    spent += min(begun.duration(to: clock.now), .seconds(1)) + pause
    try? await Task.sleep(for: pause)
    pause = min(pause * 2, .milliseconds(50))
  }
}
