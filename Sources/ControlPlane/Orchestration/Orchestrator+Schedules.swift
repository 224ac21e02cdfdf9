import ClusterModel

/// Which functions have schedules.
extension Orchestrator {
  /// A function changed or went.
  func noteSchedules(_ key: String) {
    let function = functions[key]?.function
    let schedules = function?.spec.schedule ?? []
    let now = function.flatMap { function in
      schedules.isEmpty
        ? nil
        : ScheduledFunction(
          namespace: function.metadata.namespace ?? "default", name: function.metadata.name,
          uid: function.metadata.uid ?? "", serves: function.status?.servingRevision != nil, schedules: schedules)
    }
    guard scheduled[key] != now else { return }
    scheduled[key] = now
    scheduleVersion += 1
  }

  /// All functions with schedules, with the version of the list; nil when that is still `version`.
  func schedules(since version: Int64) -> (version: Int64, functions: [ScheduledFunction])? {
    version == scheduleVersion ? nil : (scheduleVersion, Array(scheduled.values))
  }
}
