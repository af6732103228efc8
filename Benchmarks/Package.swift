// swift-tools-version: 6.3
import PackageDescription

// A package of its own, so that what benchmarks depend on never reaches users.
let package = Package(
  name: "Benchmarks",
  dependencies: [
    .package(name: "swift-pods", path: ".."),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
    .package(url: "https://github.com/ordo-one/TextTable", from: "0.0.2"),
  ],
  targets: [
    .executableTarget(
      name: "process-costs",
      dependencies: [
        .product(name: "PodCore", package: "swift-pods"),
        .product(name: "PodPtrace", package: "swift-pods"),
        .product(name: "PodSeccomp", package: "swift-pods"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Subprocess", package: "swift-subprocess"),
        .product(name: "TextTable", package: "TextTable"),
      ]),
    .executableTarget(
      name: "filter-costs",
      dependencies: [
        .product(name: "PodSeccomp", package: "swift-pods"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Subprocess", package: "swift-subprocess"),
        .product(name: "TextTable", package: "TextTable"),
      ]),
    .executableTarget(
      name: "notification-costs",
      dependencies: [
        .product(name: "PodCore", package: "swift-pods"),
        .product(name: "PodSeccomp", package: "swift-pods"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Subprocess", package: "swift-subprocess"),
      ]),
    .executableTarget(
      name: "page-costs",
      dependencies: [
        .product(name: "PodSeccomp", package: "swift-pods"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Subprocess", package: "swift-subprocess"),
        .product(name: "TextTable", package: "TextTable"),
      ]),
    .executableTarget(
      name: "names",
      dependencies: [
        .product(name: "PodCore", package: "swift-pods"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ]),
  ],
  swiftLanguageModes: [.v6]
)
