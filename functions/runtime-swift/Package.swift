// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
  .enableUpcomingFeature("InferIsolatedConformances"),
]

// One file without libraries: a pod's root need not hold Swift's. -s leaves the symbols out.
let oneFile: [LinkerSetting] = [.unsafeFlags(["-static-executable", "-Xlinker", "-s"])]

// The library a Swift function links, and the runner of exec functions and the bridge of Lambda functions, which share
// its HTTP and its log frames.
// A package of its own without dependencies: building a function never builds the platform.
let package = Package(
  name: "runtime-swift",
  products: [
    .library(name: "ApusFunction", targets: ["ApusFunction"]),
    .executable(name: "apus-exec-runner", targets: ["apus-exec-runner"]),
    .executable(name: "apus-lambda-bridge", targets: ["apus-lambda-bridge"]),
  ],
  targets: [
    .target(name: "ApusFunction", swiftSettings: strict),
    .target(name: "Programs", dependencies: ["ApusFunction"], swiftSettings: strict),
    .target(name: "LambdaBridge", dependencies: ["ApusFunction", "Programs"], swiftSettings: strict),
    .executableTarget(
      name: "apus-exec-runner", dependencies: ["ApusFunction", "Programs"], swiftSettings: strict,
      linkerSettings: oneFile),
    .executableTarget(
      name: "apus-lambda-bridge", dependencies: ["LambdaBridge"], swiftSettings: strict, linkerSettings: oneFile),
    .testTarget(name: "ApusFunctionTests", dependencies: ["ApusFunction"], swiftSettings: strict),
    .testTarget(name: "LambdaBridgeTests", dependencies: ["ApusFunction", "LambdaBridge"], swiftSettings: strict),
  ]
)
