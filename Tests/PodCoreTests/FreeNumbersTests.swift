internal import Testing

@testable internal import PodCore

@Suite struct FreeNumbersTests {
  /// The same, naively.
  private struct Model {
    let range: ClosedRange<Int32>
    var taken: Set<Int32> = []

    func next(from start: Int32) -> Int32? {
      guard start <= range.upperBound else { return nil }
      return (max(start, range.lowerBound)...range.upperBound).first { !taken.contains($0) }
    }
  }

  @Test(
    "random operations give what a set of numbers gives",
    arguments: [1...1, 1...63, 1...64, 5...69, 1...65, 3...4_098, 1...4_097] as [ClosedRange<Int32>]
  )
  func model(range: ClosedRange<Int32>) {
    var numbers = FreeNumbers(range: range)
    var model = Model(range: range)
    var random = Seeded(state: UInt64(range.count))
    for turn in 0..<3_000 {
      let number = Int32.random(in: range, using: &random)
      // Mostly taking, then mostly giving back, so that it becomes full and empty.
      let takes = Int.random(in: 0..<10, using: &random) < (turn / 600 % 2 == 0 ? 8 : 2)
      if takes {
        let free = numbers.next(from: number)
        #expect(free == model.next(from: number))
        if let free {
          numbers.take(free)
          model.taken.insert(free)
        }
      } else {
        numbers.giveBack(number)
        model.taken.remove(number)
      }
      #expect(numbers.isFree(number) == !model.taken.contains(number))
    }
  }

  @Test("a full range has no free number, and numbers outside are never free")
  func bounds() {
    var numbers = FreeNumbers(range: 2...300)
    for number in Int32(2)...300 { numbers.take(number) }
    #expect(numbers.next(from: 0) == nil)
    numbers.giveBack(299)
    #expect(numbers.next(from: 0) == 299)
    #expect(numbers.next(from: 300) == nil)
    #expect(numbers.next(from: 301) == nil)
    #expect(!numbers.isFree(1) && !numbers.isFree(301))
    numbers.giveBack(1)
    numbers.take(5_000)
    #expect(numbers.next(from: .min) == 299)
  }

  private struct Seeded: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
      state &+= 0x9E37_79B9_7F4A_7C15
      var mixed = (state ^ state >> 30) &* 0xBF58_476D_1CE4_E5B9
      mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
      return mixed ^ mixed >> 31
    }
  }
}
