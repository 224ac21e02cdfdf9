// swift-tools-version: 6.2
import PackageDescription

let package = Package(
  name: "digest-swift",
  products: [.executable(name: "digest-swift", targets: ["digest-swift"])],
  dependencies: [.package(path: Context.environment["APUS_RUNTIME_SWIFT"] ?? "../../runtime-swift")],
  targets: [
    .executableTarget(
      name: "digest-swift", dependencies: [.product(name: "ApusFunction", package: "runtime-swift")], path: "Sources")
  ]
)
