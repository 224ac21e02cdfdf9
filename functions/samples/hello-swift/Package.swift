// swift-tools-version: 6.2
import PackageDescription

let package = Package(
  name: "hello-swift",
  products: [.executable(name: "hello-swift", targets: ["hello-swift"])],
  dependencies: [.package(path: Context.environment["APUS_RUNTIME_SWIFT"] ?? "../../runtime-swift")],
  targets: [
    .executableTarget(
      name: "hello-swift", dependencies: [.product(name: "ApusFunction", package: "runtime-swift")], path: "Sources")
  ]
)
