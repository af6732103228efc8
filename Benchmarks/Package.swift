// swift-tools-version: 6.3
import PackageDescription

let pods: (String) -> Target.Dependency = { .product(name: $0, package: "swift-pods") }
let arguments: Target.Dependency = .product(
  name: "ArgumentParser", package: "swift-argument-parser")
let subprocess: Target.Dependency = .product(name: "Subprocess", package: "swift-subprocess")
let tables: Target.Dependency = .product(name: "TextTable", package: "TextTable")

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
    // What all of them share: compiled programs, rounds and what is said of them.
    .target(name: "Measuring", dependencies: [arguments, subprocess]),
    .executableTarget(
      name: "micro-costs",
      dependencies: [
        "Measuring", pods("PodCore"), pods("PodPtrace"), pods("PodSeccomp"), arguments, subprocess,
        tables,
      ]),
    .executableTarget(
      name: "notification-costs",
      dependencies: ["Measuring", pods("PodCore"), pods("PodSeccomp"), arguments, subprocess]),
    .executableTarget(
      name: "page-costs",
      dependencies: ["Measuring", pods("PodSeccomp"), arguments, subprocess, tables]),
    .executableTarget(name: "names", dependencies: [pods("PodCore"), arguments]),
  ],
  swiftLanguageModes: [.v6]
)
