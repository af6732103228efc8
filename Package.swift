// swift-tools-version: 6.3
import PackageDescription

/// Settings of every Swift target: language mode 6 and the upcoming features that CONTRIBUTING.md names.
let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

let system: Target.Dependency = .product(name: "SystemPackage", package: "swift-system")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let subprocess: Target.Dependency = .product(name: "Subprocess", package: "swift-subprocess")

let package = Package(
  name: "swift-pods",
  products: [
    .library(name: "PodCore", targets: ["PodCore"]),
    .library(name: "PodMock", targets: ["PodMock"]),
    .library(name: "PodPtrace", targets: ["PodPtrace"]),
    .library(name: "PodSeccomp", targets: ["PodSeccomp"]),
    .executable(name: "podrun", targets: ["podrun"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
  ],
  targets: [
    // What both sides of the boundary share: header-only C.
    .target(name: "CPodLayout"),
    // The pod's init, and the code that is mapped into pod processes, as bytes that `make page` generates from C.
    .target(name: "CPodVDSO", exclude: ["init", "page"]),
    .target(name: "CLinux"),
    .systemLibrary(
      name: "CSeccomp", pkgConfig: "libseccomp", providers: [.apt(["libseccomp-dev"])]),

    .target(name: "PodCore", dependencies: ["CPodLayout", system, logging], swiftSettings: strict),
    .target(name: "PodMock", dependencies: ["PodCore", system], swiftSettings: strict),
    .target(
      name: "PodLinux", dependencies: ["PodCore", "CLinux", "CPodLayout", "CPodVDSO", system],
      swiftSettings: strict),
    .target(
      name: "PodPtrace", dependencies: ["PodCore", "PodLinux", "CLinux", system],
      swiftSettings: strict),
    .target(
      name: "PodSeccomp",
      dependencies: [
        "PodCore", "PodLinux", "PodPtrace", "CLinux", "CPodLayout", "CSeccomp", system, logging,
      ],
      swiftSettings: strict),

    .testTarget(name: "BoundaryTests", dependencies: ["PodCore", system], swiftSettings: strict),
    .testTarget(
      name: "PodCoreTests", dependencies: ["PodCore", "PodMock", system], swiftSettings: strict),
    .testTarget(
      name: "PodMockTests", dependencies: ["PodCore", "PodMock", system], swiftSettings: strict),
    .testTarget(
      name: "PodRunTests", dependencies: ["PodCore", "PodLinux", system],
      swiftSettings: strict),
    .testTarget(
      name: "PodSeccompTests",
      dependencies: [
        "PodCore", "PodLinux", "PodSeccomp", "CLinux", "CPodLayout", "CSeccomp", "PodTestSupport",
        subprocess, system,
      ],
      swiftSettings: strict),
    .testTarget(
      name: "PodLinuxTests",
      dependencies: [
        "PodCore", "PodLinux", "CLinux", "CPodLayout", "CPodVDSO", "PodTestSupport", system,
      ],
      swiftSettings: strict),

    // The page's C with a kernel of the tests'.
    .target(
      name: "CPodPageModel", dependencies: ["CPodLayout"], path: "Tests/CPodPageModel",
      cSettings: [.define("POD_PAGE_MODEL")]),
    .testTarget(
      name: "PodPageTests",
      dependencies: ["PodCore", "PodMock", "CPodLayout", "CPodPageModel", system],
      swiftSettings: strict),

    .target(
      name: "PodTestSupport",
      dependencies: ["PodCore", "PodLinux", "PodPtrace", "PodSeccomp", subprocess, system],
      path: "Tests/PodTestSupport", swiftSettings: strict),
    // A program under test that has to be Swift; the others are C files, which the tests compile.
    .executableTarget(name: "contended-mutex", path: "Tests/Programs/contended-mutex"),
    // A host program that disturbs its pods.
    .executableTarget(
      name: "reaping-host", dependencies: ["PodCore", "PodPtrace", "PodSeccomp", "CLinux"],
      path: "Tests/Programs/reaping-host", swiftSettings: strict),
    .testTarget(
      name: "ConformanceTests",
      dependencies: [
        "PodCore", "PodPtrace", "PodSeccomp", "CLinux", "PodTestSupport", "podrun",
        "reaping-host", system,
      ],
      swiftSettings: strict),
    .testTarget(
      name: "ProgramTests",
      dependencies: ["PodCore", "PodTestSupport", "podrun", "contended-mutex"],
      swiftSettings: strict),

    .testTarget(
      name: "FaultTests",
      dependencies: [
        "PodCore", "PodPtrace", "PodSeccomp", "PodTestSupport", "podrun", subprocess, system,
      ],
      swiftSettings: strict),

    // Counts that don't depend on the machine, with bounds.
    .testTarget(
      name: "CostTests",
      dependencies: ["PodCore", "PodSeccomp", "PodTestSupport", "podrun", subprocess, system],
      swiftSettings: strict),

    .testTarget(
      name: "PodrunTests",
      dependencies: [
        "PodCore", "PodLinux", "CLinux", "PodTestSupport", "podrun", "embed", subprocess, system,
      ],
      swiftSettings: strict),

    .executableTarget(
      name: "podrun",
      dependencies: [
        "PodCore", "PodPtrace", "PodSeccomp", "PodLinux", "CLinux", system,
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Examples/podrun", swiftSettings: strict),
    .executableTarget(
      name: "embed", dependencies: ["PodCore", "PodSeccomp"], path: "Examples/embed",
      swiftSettings: strict),
  ],
  swiftLanguageModes: [.v6]
)

// `make docs`: embedders don't fetch it.
if Context.environment["SWIFT_PODS_DOCS"] != nil {
  package.dependencies.append(
    .package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.5.0"))
}
