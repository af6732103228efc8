import Measuring

/// The paper's Figure 6: seven benchmarks natively, outside any pod while one lives, and in a pod, with the paper's own figures.
struct Figure6 {
  let results: Results

  /// What the paper says of one (section 5.1): times its native call, least and most where it isn't exact.
  struct Published {
    let outside, pod: ClosedRange<Double>

    init(_ outside: ClosedRange<Double>, _ pod: ClosedRange<Double>) {
      (self.outside, self.pod) = (outside, pod)
    }

    /// In both alike.
    init(_ both: ClosedRange<Double>) { self.init(both, both) }
  }

  struct Benchmark {
    /// The paper's word.
    let name: String
    /// The rows that measure it.
    let call: String
    let published: Published
  }

  /// The figure's bars have no numbers, the text has: getpid takes 8 ns more, which is 2%; getsid in a pod 111 ns more than outside; getpgid
  /// 17 ns outside and 108 more in a pod; fork 4%; shmget 35% in both; what is left "generally 2–4%". A native getpid took
  /// 0.42 µs (5.5 µs are 13 times as long), and so, about, did the other two.
  static let benchmarks = [
    Benchmark(name: "getpid", call: "getpid", published: Published(1.02...1.02)),
    Benchmark(
      name: "getsid", call: "getsid", published: Published(1.02...1.02, 1.28...1.28)),
    Benchmark(
      name: "getpgid", call: "getpgid", published: Published(1.04...1.04, 1.30...1.30)),
    Benchmark(name: "fork", call: "fork+wait", published: Published(1.04...1.04)),
    Benchmark(name: "execve", call: "fork+exec+wait", published: Published(1.02...1.04)),
    Benchmark(name: "shmget", call: "shmget+remove", published: Published(1.35...1.35)),
    Benchmark(name: "shmat", call: "shmat+shmat", published: Published(1.02...1.04)),
  ]

  /// What has to be measured.
  static var rows: [Row] {
    let calls = Set(benchmarks.map(\.call))
    return Row.all.filter { row in
      switch row.work {
      case .call(let call): calls.contains(call) && ways.contains(row.measured)
      case .outside(let call): calls.contains(call)
      case .command, .host: false
      }
    }
  }

  static let ways: [Way] = [.native, .pod, .emulatingPod]

  /// What its numbers are called.
  var name: String { "figure6-\(results.isPinned ? "pinned" : "unpinned")" }

  private func outside(_ benchmark: Benchmark) -> Spread? {
    results.series["outside-\(benchmark.call)"]?.ratio(.pod, to: .native)
  }

  private func pod(_ benchmark: Benchmark) -> Spread? {
    results.series[benchmark.call]?.ratio(.pod, to: .native)
  }

  /// In a pod whose objects the host program has; nil for what is no call on objects.
  private func emulating(_ benchmark: Benchmark) -> Spread? {
    results.series["\(benchmark.call)-emulated"]?.ratio(.emulatingPod, to: .native)
  }

  /// In Markdown.
  var table: String {
    var lines = [
      results.isPinned ? "### With the work on one CPU" : "### Unpinned", "",
      "| benchmark | native | outside a pod | in a pod | … emulated | paper: outside | paper: in a pod |",
      "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    func written(_ spread: Spread?) -> String {
      guard let spread else { return "" }
      let (lower, upper) = (spread.lower.writtenAsRatio, spread.upper.writtenAsRatio)
      return "\(spread.median.writtenAsRatio) (\(lower)–\(upper))"
    }
    func written(_ range: ClosedRange<Double>) -> String {
      range.lowerBound == range.upperBound
        ? range.lowerBound.writtenAsRatio
        : "\(range.lowerBound.writtenAsRatio)–\(range.upperBound.writtenAsRatio)"
    }
    for benchmark in Self.benchmarks {
      let native = results.series[benchmark.call]?.median(.native)?.writtenAsTime ?? ""
      let cells = [
        benchmark.name, native, written(outside(benchmark)), written(pod(benchmark)),
        written(emulating(benchmark)),
        written(benchmark.published.outside), written(benchmark.published.pod),
      ]
      lines.append("| \(cells.joined(separator: " | ")) |")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// A line a benchmark: place, name, and median and quartiles outside, in a pod and in one that emulates, then the paper's.
  var numbers: String {
    var lines = [
      "place\tname\toutside\tlower\tupper\tpod\tlower\tupper\temulated\tlower\tupper\t"
        + "paper outside\tlower\tupper\tpaper pod\tlower\tupper"
    ]
    for (place, benchmark) in Self.benchmarks.enumerated() {
      var cells = ["\(place)", benchmark.name]
      for spread in [outside(benchmark), pod(benchmark), emulating(benchmark)] {
        cells +=
          spread.map { [$0.median, $0.lower, $0.upper].map { $0.written(4) } }
          ?? ["?", "?", "?"]
      }
      for range in [benchmark.published.outside, benchmark.published.pod] {
        let (lower, upper) = (range.lowerBound, range.upperBound)
        cells += [(lower + upper) / 2, lower, upper].map { $0.written(4) }
      }
      lines.append(cells.joined(separator: "\t"))
    }
    return lines.joined(separator: "\n") + "\n"
  }
}
