import ClusterModel
import Crypto
import Dispatch
import Glibc
import PodSandbox

/// The files of our runners that go into a runtime's root, below /runtime.
enum RunnerFiles {
  private static let compiling = DispatchQueue(label: "apus.worker.compile")

  /// The files of a runtime; Python's are compiled first, once for each content, as every cold start would do it anew.
  static func files(of runtime: Runtime, _ configuration: WorkerConfiguration) async -> [RuntimeFile] {
    let places = configuration.runtimeFiles
    switch runtime {
    case .python:
      let cache = "\(configuration.dataDirectory)/runtimes"
      return await withCheckedContinuation { continuation in
        compiling.async {
          continuation.resume(returning: python(places.python, cache: cache) + zygote(places.zygoteModule))
        }
      }
    case .node: return files(in: places.node, to: "/runtime") { $0.hasSuffix(".mjs") || $0.hasSuffix(".js") }
    case .exec: return [RuntimeFile(source: places.execRunner, destination: "/runtime/apus-exec-runner")]
    case .lambda: return [RuntimeFile(source: places.lambdaBridge, destination: "/runtime/apus-lambda-bridge")]
    case .swift, .binary, .image: return []
    }
  }

  private static func zygote(_ module: String) -> [RuntimeFile] {
    guard access(module, R_OK) == 0 else { return [] }
    return [RuntimeFile(source: module, destination: "/runtime/apus_zygote.abi3.so")]
  }

  /// Sources and compiled modules; without the latter when compiling fails (then pods start slower, not otherwise).
  private static func python(_ folder: String, cache: String) -> [RuntimeFile] {
    let names = Descriptors.names(in: folder).filter { $0.hasSuffix(".py") }.sorted()
    let compiled = compiled(names, in: folder, cache: cache)
    let source = compiled ?? folder
    let modules = compiled.map {
      files(in: "\($0)/__pycache__", to: "/runtime/__pycache__") { $0.hasSuffix(".pyc") }
    }
    return files(in: source, to: "/runtime") { names.contains($0) } + (modules ?? [])
  }

  /// A folder with copies of the sources and their `__pycache__`, named after what is in them.
  private static func compiled(_ names: [String], in folder: String, cache: String) -> String? {
    var digest = SHA256()
    var contents: [(name: String, bytes: [UInt8])] = []
    for name in names {
      guard let bytes = Descriptors.contents(of: "\(folder)/\(name)") else { return nil }
      digest.update(data: Array("\(name)\0\(bytes.count)\0".utf8))
      digest.update(data: bytes)
      contents.append((name, bytes))
    }
    let key = digest.finalize().prefix(8).hex
    let place = "\(cache)/python-\(key)"
    if access("\(place)/__pycache__", R_OK) == 0 { return place }
    let temporary = "\(place).\(getpid()).\(UInt32.random(in: 0 ... .max))"
    do throws(WorkerError) {
      try Descriptors.makeFolder(temporary)
      for (name, bytes) in contents { try Descriptors.replace("\(temporary)/\(name)", with: bytes, mode: 0o644) }
    } catch { return nil }
    // Without looking at times: the folder's name already says which sources these modules belong to.
    let arguments = ["-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", temporary]
    guard run("/usr/bin/python3", arguments) == 0 else { return nil }
    return rename(temporary, place) == 0 || access("\(place)/__pycache__", R_OK) == 0 ? place : nil
  }

  /// Runs a program to its end; -1 when it did not start. Once at start-up, while this process is small.
  private static func run(_ program: String, _ arguments: [String]) -> CInt {
    let words: [String] = [program] + arguments
    var argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
    argv.append(nil)
    var environment: [UnsafeMutablePointer<CChar>?] = [strdup("LC_ALL=C"), nil]
    defer { for pointer in argv + environment { free(pointer) } }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for fd in [0, 1, 2] as [CInt] { posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0) }
    var pid = pid_t()
    guard posix_spawn(&pid, program, &actions, nil, &argv, &environment) == 0 else { return -1 }
    var status: CInt = 0
    while waitpid(pid, &status, 0) < 0 { if errno != EINTR { return -1 } }
    return status
  }

  private static func files(in folder: String, to place: String, _ wanted: (String) -> Bool) -> [RuntimeFile] {
    Descriptors.names(in: folder).filter(wanted).sorted().map {
      RuntimeFile(source: "\(folder)/\($0)", destination: "\(place)/\($0)")
    }
  }
}
