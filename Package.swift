// swift-tools-version: 6.2
import PackageDescription

// One list of settings for every Swift target of the house (docs/architecture.md, "The rules of the house").
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
  .enableUpcomingFeature("InferIsolatedConformances"),
  .treatAllWarnings(as: .error),
]

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let asyncHTTPClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let deque = Target.Dependency.product(name: "DequeModule", package: "swift-collections")
let heap = Target.Dependency.product(name: "HeapModule", package: "swift-collections")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let hummingbirdTLS = Target.Dependency.product(name: "HummingbirdTLS", package: "hummingbird")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let log = Target.Dependency.product(name: "Logging", package: "swift-log")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioFoundation = Target.Dependency.product(name: "NIOFoundationCompat", package: "swift-nio")
let nioHTTP2 = Target.Dependency.product(name: "NIOHTTP2", package: "swift-nio-http2")
let nioHPACK = Target.Dependency.product(name: "NIOHPACK", package: "swift-nio-http2")
let nioTLS = Target.Dependency.product(name: "NIOTLS", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let serviceLifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let subprocess = Target.Dependency.product(name: "Subprocess", package: "swift-subprocess")
let x509 = Target.Dependency.product(name: "X509", package: "swift-certificates")
let asn1 = Target.Dependency.product(name: "SwiftASN1", package: "swift-asn1")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")

let strictC: [CSetting] = [.define("_GNU_SOURCE"), .unsafeFlags(["-Wall", "-Wextra", "-Werror"])]

func room(_ name: String, _ dependencies: [Target.Dependency], path: String? = nil) -> Target {
  .target(name: name, dependencies: dependencies, path: path, swiftSettings: strict)
}

func tests(
  _ name: String, _ dependencies: [Target.Dependency], path: String? = nil, exclude: [String] = []
) -> Target {
  .testTarget(name: name, dependencies: dependencies, path: path, exclude: exclude, swiftSettings: strict)
}

let targets: [Target] = [
  // –  C: the system's zlib, the few calls Swift cannot reach, the making of a pod, and the two programs that do it.
  .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
  .target(name: "CLinux", cSettings: [.define("_GNU_SOURCE")]),
  .target(name: "CSandbox", cSettings: strictC),
  // Linked by scripts/build-runner: a library from here would bring Swift's along, into each interpreter.
  .target(name: "CZygote", dependencies: ["CSandbox"], cSettings: strictC),
  .executableTarget(
    name: "apus-spawner", dependencies: ["CSandbox"], cSettings: strictC,
    linkerSettings: [.unsafeFlags(["-static-executable"])]),

  // 0
  room("ClusterModel", []),
  room("StateStore", [grdb]),
  room("LogIndex", ["CZlib", grdb]),

  // 1
  room("ClusterAPI", ["ClusterModel"]),
  room("Planning", ["ClusterModel"]),
  room("FunctionPackage", ["ClusterModel", "CZlib", "CLinux", crypto, yams]),
  room("PodSandbox", ["ClusterModel", "CLinux", heap, log]),

  // 2
  room(
    "ClusterClient",
    [
      "ClusterModel", "ClusterAPI", asyncHTTPClient, nioCore, nioPosix, nioHTTP1, nioSSL, nioFoundation, log, x509,
      asn1, crypto,
    ]),
  room(
    "ImageStore",
    ["ClusterModel", "FunctionPackage", "CLinux", asyncHTTPClient, nioCore, nioHTTP1, nioPosix, log, crypto]),
  room(
    "HTTPService",
    [
      "ClusterModel", "ClusterAPI", hummingbird, hummingbirdTLS, httpTypes, nioCore, nioPosix, nioSSL, log,
      serviceLifecycle, x509,
      asn1, crypto,
    ]),

  // 3
  room(
    "ControlPlane",
    [
      "ClusterModel", "ClusterAPI", "Planning", "StateStore", "FunctionPackage", "HTTPService", hummingbird, httpTypes,
      nioCore, log, serviceLifecycle, crypto, x509, asn1, deque, heap,
    ]),
  room(
    "WorkerAgent",
    [
      "ClusterModel", "ClusterAPI", "PodSandbox", "FunctionPackage", "ImageStore", "CLinux", nioCore, nioPosix, nioSSL,
      log, serviceLifecycle, crypto,
    ]),
  room(
    "Gateway",
    [
      "ClusterModel", "ClusterAPI", "Planning", nioCore, nioPosix, nioSSL, nioTLS, nioHTTP2, nioHPACK, log,
      serviceLifecycle, deque, crypto,
    ],
    path: "gateway/Sources/Gateway"),
  room(
    "LogService",
    [
      "ClusterModel", "ClusterAPI", "HTTPService", "LogIndex", "CZlib", hummingbird, httpTypes, nioCore, log,
      serviceLifecycle,
    ]),

  // 4
  .executableTarget(
    name: "apus",
    dependencies: [
      "ClusterModel", "ClusterAPI", "Planning", "StateStore", "FunctionPackage", "PodSandbox", "ClusterClient",
      "HTTPService", "ControlPlane", "WorkerAgent", "Gateway", "LogService", "LogIndex", "ImageStore", "CLinux",
      argumentParser, log,
      serviceLifecycle, unixSignals, subprocess, yams, nioCore, nioPosix, nioHTTP1, nioSSL, crypto, asyncHTTPClient,
    ], swiftSettings: strict),

  // Tests
  .target(
    name: "ClusterTestSupport", dependencies: ["ClusterModel", "ClusterAPI", subprocess],
    path: "Tests/ClusterTestSupport", swiftSettings: strict),
  tests("ClusterModelTests", ["ClusterModel", "ClusterTestSupport"]),
  tests("StateStoreTests", ["StateStore", "ClusterTestSupport", grdb, subprocess]),
  tests("LogIndexTests", ["LogIndex", "ClusterTestSupport", grdb]),
  tests("PlanningTests", ["Planning", "ClusterModel", "ClusterTestSupport"]),
  tests("FunctionPackageTests", ["FunctionPackage", "ClusterModel", "ClusterTestSupport", crypto]),
  tests(
    "ImageStoreTests",
    [
      "ImageStore", "FunctionPackage", "ClusterModel", "ClusterTestSupport", nioCore, nioHTTP1, nioPosix,
      log, crypto,
    ]),
  tests("PodSandboxTests", ["PodSandbox", "CLinux", "apus-spawner", "ClusterTestSupport", log]),
  tests(
    "GatewayTests",
    [
      "Gateway", "Planning", "ClusterModel", "ClusterAPI", "ClusterTestSupport", nioCore, nioPosix, nioHTTP1,
      nioEmbedded, nioHTTP2, nioHPACK, nioSSL, log, serviceLifecycle, crypto,
    ],
    path: "gateway/Tests/GatewayTests"),
  tests(
    "ControlPlaneTests",
    ["ControlPlane", "ClusterModel", "ClusterAPI", "StateStore", "ClusterTestSupport", hummingbird, crypto, log]),
  tests(
    "WorkerAgentTests",
    [
      "WorkerAgent", "ClusterModel", "ClusterAPI", "FunctionPackage", "PodSandbox", "ImageStore", "apus-spawner",
      "ClusterTestSupport",
      nioCore, nioPosix, nioSSL, log, serviceLifecycle, crypto,
    ]),
  tests(
    "LogServiceTests",
    [
      "LogService", "LogIndex", "ClusterModel", "ClusterAPI", "ClusterTestSupport", "CZlib", log, serviceLifecycle,
    ]),
  tests(
    "ClusterClientTests",
    [
      "ClusterClient", "HTTPService", "ControlPlane", "StateStore", "ClusterModel", "ClusterAPI", "ClusterTestSupport",
      hummingbird, asyncHTTPClient, nioCore, nioPosix, nioHTTP1, nioSSL, log, serviceLifecycle, crypto,
    ]),
  tests(
    "CLITests", ["apus", "ClusterModel", "ClusterAPI", "LogIndex", "LogService", argumentParser], exclude: ["Golden"]),
  tests("TidyTests", []),
  tests(
    "EndToEndTests",
    [
      "apus", "apus-spawner", "PodSandbox", "ClusterModel", "ClusterTestSupport", asyncHTTPClient, nioCore, nioHTTP1,
      log,
      crypto,
    ]),
]

// Partial builds while a room is being worked on: APUS_ONLY=LogIndex,LogIndexTests builds those and what they need.
func selected(_ targets: [Target]) -> [Target] {
  guard let only = Context.environment["APUS_ONLY"], !only.isEmpty else { return targets }
  var wanted = Set(only.split(separator: ",").map(String.init))
  var grew = true
  while grew {
    grew = false
    for target in targets where wanted.contains(target.name) {
      for dependency in target.dependencies {
        if case .byNameItem(let name, _) = dependency, wanted.insert(name).inserted { grew = true }
      }
    }
  }
  return targets.filter { wanted.contains($0.name) }
}

let package = Package(
  name: "apus",
  platforms: [.macOS(.v15)],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-asn1", from: "1.7.0"),
    .package(url: "https://github.com/apple/swift-certificates", from: "1.21.0"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.0"),
  ],
  targets: selected(targets)
)
