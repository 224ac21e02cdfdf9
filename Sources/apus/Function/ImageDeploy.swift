import ClusterAPI
import ClusterModel
import FoundationEssentials
import ImageStore
import Logging

/// Deploys functions that are container images: looks up what a tag means now, and writes the function with its digest.
struct ImageDeploy {
  /// The cluster.
  let cluster: ClusterConnection
  /// The namespace.
  let namespace: String
  /// Registries that are asked by plain HTTP.
  let insecure: [String]

  /// Deploys an image under a name; a function that has the name and is an image gets the new one and keeps the rest.
  func deploy(_ text: String, name: String?, secret: String?, env: [String: String]) async throws -> Function {
    let image = try Self.read(text)
    let name = try name ?? Self.name(of: image)
    if let problem = Schema.Rule.functionName.check(name) { throw Failure("\(problem)") }
    let (pinned, config) = try await look(up: image, name)
    var spec: [String: JSONValue] = [
      "runtime": .string(Runtime.image.rawValue), "image": .string("\(pinned)"),
    ]
    if let secret { spec["imageSecret"] = .string(secret) }
    if !env.isEmpty { spec["env"] = .object(env.mapValues(JSONValue.string)) }
    let write = FunctionWrite(cluster: cluster, namespace: namespace)
    do {
      try Self.check(config, command: nil, image)
      return try await write.create(
        .object([
          "apiVersion": .string(ResourceKind.function.apiVersion), "kind": .string(ResourceKind.function.rawValue),
          "metadata": .object(["name": .string(name)]), "spec": .object(spec),
        ]))
    } catch let status as APIStatus where status.reason == "AlreadyExists" {
      return try await write.change(name) { current in
        guard current.at(path: "spec.runtime")?.stringValue == Runtime.image.rawValue else {
          throw Failure(
            "\(name) is a function of another runtime",
            next: "Choose another name, or `apus delete function \(name)` first.")
        }
        current = current.merging(patch: .object(["spec": .object(spec)]))
      }
    }
  }

  /// Deploys a folder's manifest; its `spec.image` may name a tag.
  func deploy(_ source: FunctionFolder) async throws -> Function {
    let image = try Self.read(source.manifest.at(path: "spec.image")?.stringValue ?? "")
    let (pinned, config) = try await look(up: image, source.name)
    try Self.check(config, command: source.manifest.at(path: "spec.command"), image)
    let manifest = source.manifest.merging(
      patch: .object(["spec": .object(["image": .string("\(pinned)")])]))
    return try await FunctionWrite(cluster: cluster, namespace: namespace).apply(manifest, name: source.name)
  }

  private func look(up image: ImageReference, _ name: String) async throws -> (ImageReference, ImageConfig) {
    let logger = Logger(label: "apus.images") { _ in SwiftLogNoOpLogHandler() }
    let client = RegistryClient(insecure: InsecureRegistries.chosen(insecure), logger: logger)
    let variables = ProcessInfo.processInfo.environment
    let credential = variables["APUS_REGISTRY_USER"].map {
      RegistryCredential(user: $0, password: variables["APUS_REGISTRY_PASSWORD"] ?? "")
    }
    let (digest, config) = try await Progress.during("looking up \(image)") { _ in
      try await client.inspect(image, credential: credential)
    }
    await client.shutdown()
    guard config.platform.system == "linux" else {
      throw Failure("\(image) is for \(config.platform), and pods are Linux")
    }
    let pinned = image.pinned(digest)
    Terminal.print("resolved   \(name)  \(pinned)")
    return (pinned, config)
  }

  private static func read(_ text: String) throws(Failure) -> ImageReference {
    do throws(ImageReference.Flaw) { return try ImageReference(text) } catch { throw .usage(error.description) }
  }

  /// The last part of an image's name, where that can be a function's.
  static func name(of image: ImageReference) throws(Failure) -> String {
    let last = image.repository.split(separator: "/").last.map(String.init) ?? ""
    let name = String(last.map { "._".contains($0) ? "-" : $0 })
    guard Schema.Rule.functionName.check(name) == nil else {
      throw .usage(
        "\"\(last)\" cannot be a function's name", next: "Give one: apus deploy --image \(image) NAME")
    }
    return name
  }

  private static func check(_ config: ImageConfig, command: JSONValue?, _ image: ImageReference) throws(Failure) {
    guard config.entrypoint.isEmpty, config.command.isEmpty, command == nil else { return }
    throw Failure(
      "\(image) names no program to run: it has neither an entrypoint nor a command",
      next: "Write a function.yaml with runtime: image and spec.command, and deploy its folder.")
  }
}
