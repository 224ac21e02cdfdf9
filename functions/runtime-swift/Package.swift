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

// The library a Swift function links, and the runner of exec functions, which shares its HTTP and its log frames.
// A package of its own without dependencies: building a function never builds the platform.
let package = Package(
  name: "runtime-swift",
  products: [
    .library(name: "ApusFunction", targets: ["ApusFunction"]),
    .executable(name: "apus-exec-runner", targets: ["apus-exec-runner"]),
  ],
  targets: [
    .target(name: "ApusFunction", swiftSettings: strict),
    .executableTarget(
      name: "apus-exec-runner", dependencies: ["ApusFunction"], swiftSettings: strict,
      // One file without libraries: a pod's root need not hold Swift's. -s leaves the symbols out.
      linkerSettings: [.unsafeFlags(["-static-executable", "-Xlinker", "-s"])]),
    .testTarget(name: "ApusFunctionTests", dependencies: ["ApusFunction"], swiftSettings: strict),
  ]
)
