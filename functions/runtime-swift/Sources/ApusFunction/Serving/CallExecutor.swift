import Synchronization

/// Runs the async code of one call on the thread that serves it, so that a handler that blocks holds up only itself
/// and a cold start waits for no thread pool.
final class CallExecutor: TaskExecutor {
  private let jobs = Mutex<[UnownedJob]>([])
  private let signal = Semaphore()

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    jobs.withLock { $0.append(job) }
    signal.post()
  }

  /// Runs `body` to its end on the calling thread and returns its result. `started` gets a way to cancel it.
  func run<Result: Sendable>(
    _ body: sending @escaping @isolated(any) () async -> Result,
    started: (@escaping @Sendable () -> Void) -> Void = { _ in }
  ) -> Result {
    let result = Mutex<Result?>(nil)
    let box = Box(result)
    let task = Task(executorPreference: self) {
      let value = await body()
      box.value.withLock { $0 = value }
      self.signal.post()  // the last step may have run elsewhere, on an actor's own executor
    }
    started { task.cancel() }
    while true {
      if let value = box.value.withLock({ $0 }) { return value }
      signal.wait()
      guard let job = jobs.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) else { continue }
      job.runSynchronously(on: asUnownedTaskExecutor())
    }
  }

  private final class Box<Value>: Sendable where Value: Sendable {
    let value: Mutex<Value?>
    init(_ value: consuming Mutex<Value?>) { self.value = value }
  }
}
