import ArgumentParser
import ClusterAPI
import ClusterModel
import FoundationEssentials

/// `apus deploy FOLDER…`.
struct Deploy: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Build, pack and upload functions, and wait until they answer.",
    discussion: """
      A folder holds function.yaml and the code. Dependencies come into the package: requirements.txt by pip, the
      dependencies of package.json by npm; a Swift function is built. The old revision serves until a pod of the new one
      was ready; when none gets ready the command exits 1 with the last lines written, and the old one goes on serving.

      With --image the function is a container image that serves HTTP on $PORT; the tag's digest is looked up now, and
      the workers pull it. A private registry is asked as $APUS_REGISTRY_USER with $APUS_REGISTRY_PASSWORD, and by
      the workers with the secret of --image-secret.

      Example:
        apus deploy greet
        apus deploy greet --env GREETING=Hi
        apus deploy functions/samples/*
        apus deploy --image ghcr.io/acme/shop:1.4 shop
      """)

  @Argument(
    help: "Folders with a function.yaml each; with --image the function's name, if not the image's.",
    completion: .directory)
  var folders: [String] = []

  @Option(help: ArgumentHelp("Deploy a container image instead of a folder.", valueName: "[registry/]name[:tag]"))
  var image: String?

  @Option(help: ArgumentHelp("The secret with username and password for the image's registry.", valueName: "name"))
  var imageSecret: String?

  @Option(
    help: ArgumentHelp(
      "Ask this registry by plain HTTP ($APUS_INSECURE_REGISTRIES, with commas); may be repeated.",
      valueName: "host:port"))
  var insecureRegistry: [String] = []

  @Option(
    name: [.customShort("e"), .long],
    help: ArgumentHelp("Sets or replaces a variable of spec.env.", valueName: "key=value"))
  var env: [String] = []

  @Flag(help: "Do not wait until the functions are ready.")
  var noWait = false

  @OptionGroup var namespace: NamespaceOption
  @OptionGroup var server: ServerOptions

  func validate() throws {
    if image == nil, imageSecret != nil { throw ValidationError("--image-secret goes with --image") }
    if image == nil, folders.isEmpty { throw ValidationError("Missing expected argument '<folders> ...'") }
    if image != nil, folders.count > 1 { throw ValidationError("--image deploys one function: give one name at most") }
  }

  func run() async throws {
    var variables: [String: String] = [:]
    for pair in env {
      let (name, value) = try SecretSet.pair(pair, "--env")
      if let problem = Schema.Rule.environmentName.check(name) { throw Failure.usage("--env: \(problem)") }
      variables[name] = value
    }
    if let image { return try await deployImage(image, env: variables) }
    // Every folder is read before the first is deployed, so that a typo in the last one changes nothing.
    var sources: [FunctionFolder] = []
    for folder in folders { sources.append(try FunctionFolder.read(folder, env: variables)) }
    let cluster = try server.connect()
    var failed = 0
    for source in sources {
      do {
        try await deploy(source, cluster)
      } catch {
        // With several folders the others go on; with one the error is the command's own.
        guard sources.count > 1 else { throw error }
        failed += 1
        Terminal.note(Failure(error).description)
      }
    }
    guard failed == 0 else { throw Failure("\(failed) of \(Figures.count(sources.count, "function")) failed") }
  }

  private func deploy(_ source: FunctionFolder, _ cluster: ClusterConnection) async throws {
    let scope = namespace.namespace ?? source.namespace ?? cluster.namespace
    if source.runtime == .image {
      let images = ImageDeploy(cluster: cluster, namespace: scope, insecure: insecureRegistry)
      return try await finish(try await images.deploy(source), cluster, scope)
    }
    let staging = PackageStaging(source: source)
    let package = try await staging.packed()
    defer { staging.cleanUp(package) }
    let size = Figures.bytes(package.size)
    Terminal.print("packed     \(source.name)  \(Figures.count(package.files, "file")), \(size)")
    let known = try await cluster.artifacts.has(namespace: scope, digest: package.digest)
    if !known {
      try await Progress.during("uploading \(source.name), \(size)") { _ in
        try await cluster.artifacts.put(
          namespace: scope, digest: package.digest, size: package.size, chunks: FileChunks.stream(package.path))
      }
    }
    Terminal.print("\(known ? "unchanged " : "uploaded  ") \(package.digest)")
    var manifest = source.manifest
    var spec = manifest["spec"] ?? .object([:])
    spec["source"] = .object(["digest": .string(package.digest), "size": .int(package.size)])
    manifest["spec"] = spec
    let written = try await FunctionWrite(cluster: cluster, namespace: scope).apply(manifest, name: source.name)
    try await finish(written, cluster, scope)
  }

  private func deployImage(_ text: String, env: [String: String]) async throws {
    let cluster = try server.connect()
    let scope = namespace.namespace ?? cluster.namespace
    let images = ImageDeploy(cluster: cluster, namespace: scope, insecure: insecureRegistry)
    let written = try await images.deploy(text, name: folders.first, secret: imageSecret, env: env)
    try await finish(written, cluster, scope)
  }

  private func finish(_ written: Function, _ cluster: ClusterConnection, _ scope: String) async throws {
    if noWait {
      return Terminal.print("written    \(written.metadata.name) generation \(written.metadata.generation ?? 1)")
    }
    Terminal.print(try await Rollout(cluster: cluster, namespace: scope, function: written).ready())
  }
}

/// A file as a stream of pieces.
enum FileChunks {
  /// Bytes of one piece.
  static let size = 256 * 1024

  /// The pieces of a file in order; read as they are asked for.
  static func stream(_ path: String) -> AsyncThrowingStream<[UInt8], any Error> {
    let reader = ChunkReader(path: path)
    return AsyncThrowingStream { try await reader.next() }
  }
}

/// Reads a file piece by piece; the file is closed at its end, on an error, or when the reader goes away.
private actor ChunkReader {
  private let path: String
  private var handle: FileReader?

  init(path: String) { self.path = path }

  func next() throws -> [UInt8]? {
    if handle == nil { handle = try FileReader(path) }
    return try handle?.read(FileChunks.size)
  }
}
