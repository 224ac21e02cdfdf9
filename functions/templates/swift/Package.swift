// swift-tools-version: 6.2
import PackageDescription

// `apus deploy` sets APUS_RUNTIME_SWIFT to the library's folder; set it too for builds and tests by hand.
let package = Package(
  name: "{{name}}",
  products: [.executable(name: "{{name}}", targets: ["Handler"])],
  dependencies: [.package(path: Context.environment["APUS_RUNTIME_SWIFT"] ?? "../../runtime-swift")],
  targets: [
    .executableTarget(
      name: "Handler", dependencies: [.product(name: "ApusFunction", package: "runtime-swift")], path: "Sources"),
    .testTarget(
      name: "FunctionTests",
      dependencies: ["Handler", .product(name: "ApusFunction", package: "runtime-swift")], path: "Tests"),
  ]
)
