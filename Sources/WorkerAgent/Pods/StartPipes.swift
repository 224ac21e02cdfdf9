import Glibc
import Synchronization

/// The pipes of one start: the pod's ends go to the sandbox, ours to the loops that read them.
struct StartPipes: Sendable {
  /// The pod's ends.
  let stdout: CInt
  let stderr: CInt
  /// -1 for a pod that serves `$PORT`.
  let frames: CInt
  /// -1 for a pod that serves `$PORT`.
  let control: CInt
  /// Gives one element when the pod said on its control pipe that its function is loaded: when its command began,
  /// nanoseconds of the monotonic clock, where that was said before.
  let wake: AsyncStream<Int64?>
  /// Gives one element when a stem's interpreter said there that it waits; ends with the pipe.
  let warm: AsyncStream<Void>
  private let readers: (stdout: CInt, stderr: CInt, frames: CInt)
  private let controlToken: UInt64?
  private let controls: PipeLoop

  /// Makes the pipes and begins to read the control pipe.
  init(controls: PipeLoop, isPort: Bool) throws(WorkerError) {
    var made: [(read: CInt, write: CInt)] = []
    do throws(WorkerError) {
      for _ in 0..<(isPort ? 2 : 4) { made.append(try Descriptors.pipe()) }
    } catch {
      for pipe in made {
        close(pipe.read)
        close(pipe.write)
      }
      throw error
    }
    stdout = made[0].write
    stderr = made[1].write
    frames = isPort ? -1 : made[2].write
    control = isPort ? -1 : made[3].write
    readers = (made[0].read, made[1].read, isPort ? -1 : made[2].read)
    let (wake, waking) = AsyncStream<Int64?>.makeStream(bufferingPolicy: .bufferingNewest(1))
    let (warm, warming) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    self.wake = wake
    self.warm = warm
    self.controls = controls
    let said = Mutex(ControlWords())
    controlToken =
      isPort
      ? nil
      : controls.add(
        made[3].read,
        PipeLoop.Handler(
          bytes: { bytes in
            let words = said.withLock { words in
              words.take(bytes)
              return words
            }
            if words.waits { warming.yield() }
            if words.isLoaded { waking.yield(words.began) }
          },
          end: {
            warming.finish()
            waking.finish()
          }))
  }

  /// Gives the ends we read to a pod's output; once.
  func attach(to output: PodOutput) {
    output.attach(stdout: readers.stdout, stderr: readers.stderr, frames: readers.frames)
  }

  /// Closes the ends we read, which no output was attached to.
  func closeReaders() {
    for fd in [readers.stdout, readers.stderr, readers.frames] where fd >= 0 { close(fd) }
    if let controlToken { controls.remove(controlToken) }
  }

  /// Closes the pod's ends in this process: only the pod holds them now, or nobody.
  func closeOurCopies() {
    for fd in [stdout, stderr, frames, control] where fd >= 0 { close(fd) }
  }
}
