import Glibc
import Synchronization

/// The pipes of one start: the pod's ends go to the sandbox, ours to the loops that read them.
struct StartPipes {
  let stdout: CInt
  let stderr: CInt
  /// -1 for a pod that serves `$PORT`.
  let frames: CInt
  /// -1 for a pod that serves `$PORT`.
  let control: CInt
  /// Gives one element when the pod's control byte arrived.
  let wake: AsyncStream<Void>

  /// Makes the pipes and begins to read them.
  init(output: PodOutput, controls: PipeLoop, isPort: Bool) throws(WorkerError) {
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
    let (stream, continuation) = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    wake = stream
    output.attach(stdout: made[0].read, stderr: made[1].read, frames: isPort ? -1 : made[2].read)
    if !isPort {
      controls.add(
        made[3].read, PipeLoop.Handler(bytes: { _ in _ = continuation.yield() }, end: { continuation.finish() }))
    }
  }

  /// Closes the pod's ends in this process: only the pod holds them now, or nobody.
  func closeOurCopies() {
    for fd in [stdout, stderr, frames, control] where fd >= 0 { close(fd) }
  }
}
