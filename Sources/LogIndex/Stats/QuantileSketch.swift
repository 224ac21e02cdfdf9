import FoundationEssentials
import Glibc

/// Percentiles of numbers: exact while a shared budget of kept values lasts, then within 1 % of the value.
///
/// Beyond the budget numbers are counted in buckets whose bounds grow by the same factor, so that each bucket's middle
/// is within 1 % of all its numbers.
struct QuantileSketch {
  static let exactMaximum = 20_000
  private static let gamma = 1.02
  private static let logGamma = log(1.02)
  private static let logSmallest = log(1e-9)
  /// Numbers nearer to zero than this count as zero.
  private static let smallest = 1e-9

  private var exact: [Double]? = []
  private var buckets: [Int: Int] = [:]
  private var count = 0

  /// Adds numbers; `budget` is how many more may be kept by all sketches together.
  mutating func add(_ numbers: [Double], budget: inout Int) {
    count += numbers.count
    var rest = numbers[...]
    if let kept = exact?.count {
      let fitting = rest.prefix(max(0, min(Self.exactMaximum - kept, budget)))
      exact?.append(contentsOf: fitting)
      budget -= fitting.count
      rest = rest.dropFirst(fitting.count)
      if rest.isEmpty { return }
      budget += kept + fitting.count
      for value in exact ?? [] { buckets[Self.bucket(value), default: 0] += 1 }
      exact = nil
    }
    for number in rest { buckets[Self.bucket(number), default: 0] += 1 }
  }

  /// The nearest-rank percentile: the smallest number with at least `rank` percent of all at or below it.
  func percentile(_ rank: Int) -> Double {
    guard count > 0 else { return .nan }
    let wanted = max(1, (count * rank + 99) / 100)
    if let exact { return Self.smallest(wanted, of: exact) }
    var seen = 0
    for bucket in buckets.keys.sorted() {
      seen += buckets[bucket] ?? 0
      if seen >= wanted { return Self.middle(bucket) }
    }
    return .nan
  }

  /// The number that would stand at a place, from 1, if all were in order; found by halving, not by ordering.
  private static func smallest(_ place: Int, of numbers: [Double]) -> Double {
    var numbers = numbers
    return numbers.withUnsafeMutableBufferPointer { numbers in
      let wanted = place - 1
      var low = 0
      var high = numbers.count - 1
      while low < high {
        // The middle of three, so that ordered numbers are no bad case.
        let (first, middle, last) = (numbers[low], numbers[(low + high) / 2], numbers[high])
        let pivot = max(min(first, middle), min(max(first, middle), last))
        var left = low
        var right = high
        while left <= right {
          while numbers[left] < pivot { left += 1 }
          while numbers[right] > pivot { right -= 1 }
          if left <= right {
            numbers.swapAt(left, right)
            left += 1
            right -= 1
          }
        }
        if wanted <= right { high = right } else if wanted >= left { low = left } else { break }
      }
      return numbers[wanted]
    }
  }

  /// Buckets are numbered in the order of their numbers: 0 is zero, negative numbers mirror positive ones.
  private static func bucket(_ number: Double) -> Int {
    let size = abs(number)
    guard size > smallest else { return 0 }
    // A difference of logarithms: the quotient of a large number and the smallest would be infinite.
    let step = Int(((log(size) - logSmallest) / logGamma).rounded(.up)) + 1
    return number < 0 ? -step : step
  }

  private static func middle(_ bucket: Int) -> Double {
    guard bucket != 0 else { return 0 }
    let upper = smallest * exp(Double(abs(bucket) - 1) * logGamma)
    let value = 2 * upper / (1 + gamma)
    return bucket < 0 ? -value : value
  }
}
