import Foundation

/// What something cost in several ways, measured in turns: each round once in each way.
///
/// Machines become faster and slower while they are measured. Two costs of one round were measured right after each other, so
/// their ratio is more exact than either; what is said of many rounds are the median and the quartiles of the rounds' ratios.
public struct Series<Way: Hashable & Sendable>: Sendable {
  /// The costs of each round; a way that was left out has none.
  public private(set) var rounds: [[Way: Double]] = []

  /// Without rounds.
  public init() {}

  /// Adds a round.
  public mutating func add(_ costs: [Way: Double]) { rounds.append(costs) }

  /// What it cost in one way; nil when it was never measured so.
  public func median(_ way: Way) -> Double? { Spread(rounds.compactMap { $0[way] })?.median }

  /// The rounds' own ratios; nil when no round has both.
  public func ratio(_ way: Way, to other: Way) -> Spread? {
    Spread(
      rounds.compactMap { round in
        guard let cost = round[way], let base = round[other], base > 0 else { return nil }
        return cost / base
      })
  }

  /// The rounds' own differences; nil when no round has both.
  public func difference(_ way: Way, to other: Way) -> Spread? {
    Spread(
      rounds.compactMap { round in
        guard let cost = round[way], let base = round[other] else { return nil }
        return cost - base
      })
  }
}

/// The middle of some numbers, and where the middle half of them lies.
public struct Spread: Sendable {
  /// As many are less as more.
  public let median: Double
  /// A quarter is less.
  public let lower: Double
  /// A quarter is more.
  public let upper: Double
  /// The least of all.
  public let least: Double
  /// The most of all.
  public let most: Double

  /// - Returns: nil without numbers.
  public init?(_ values: [Double]) {
    let sorted = values.sorted()
    guard let first = sorted.first, let last = sorted.last else { return nil }
    func quantile(_ part: Double) -> Double {
      let place = Double(sorted.count - 1) * part
      let (low, high) = (sorted[Int(place)], sorted[Int(place.rounded(.up))])
      return low + (high - low) * (place - place.rounded(.down))
    }
    (median, lower, upper) = (quantile(0.5), quantile(0.25), quantile(0.75))
    (least, most) = (first, last)
  }
}

extension Double {
  /// With so many digits behind the point.
  public func written(_ digits: Int) -> String { String(format: "%.\(digits)f", self) }

  /// A ratio: three digits that mean something.
  public var writtenAsRatio: String {
    self < 10 ? written(self < 0.1 ? 3 : 2) : written(self < 100 ? 1 : 0)
  }

  /// Nanoseconds in the unit that suits them.
  public var writtenAsTime: String {
    switch self {
    case ..<1e4: "\(written(self < 100 ? 1 : 0)) ns"
    case ..<1e6: "\((self / 1e3).written(1)) µs"
    case ..<1e9: "\((self / 1e6).written(self < 1e7 ? 2 : 1)) ms"
    default: "\((self / 1e9).written(2)) s"
    }
  }
}

extension Duration {
  /// In nanoseconds.
  public var nanoseconds: Double { self / .nanoseconds(1) }
}
