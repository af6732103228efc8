internal import PodCore
internal import Synchronization
internal import SystemPackage

/// The bytes of a segment of shared memory on the simulated machine.
final class MockSegment: SegmentMemory {
  private static let made = Atomic<UInt64>(0)

  let identity = MockSegment.made.add(1, ordering: .relaxed).newValue
  let size: UInt64
  private let kernel: MockKernel
  private let bytes = Mutex<[UInt64: UInt8]>([:])

  init(size: UInt64, _ kernel: MockKernel) { (self.size, self.kernel) = (size, kernel) }

  var isMapped: Bool { count { _ in true } > 0 }

  func mappings(in processes: [PhysicalName<ProcessID>]) -> UInt64 {
    let numbers = Set(processes.map(\.rawValue))
    return UInt64(count { numbers.contains($0) })
  }

  func allMappings(in processes: [PhysicalName<ProcessID>]) -> [UInt64: UInt64] {
    let numbers = Set(processes.map(\.rawValue))
    return kernel.inspect { state in
      let spaces = Set(
        state.processes.values.filter { !$0.isZombie && numbers.contains($0.number) }
          .map(\.space))
      var sums: [UInt64: UInt64] = [:]
      for space in spaces {
        for segment in state.spaces[space]?.segments.values.map(\.self) ?? [] {
          sums[segment.identity, default: 0] += 1
        }
      }
      return sums
    }
  }

  private func count(_ isAsked: (Int32) -> Bool) -> Int {
    kernel.inspect { state in
      let spaces = Set(
        state.processes.values.filter { !$0.isZombie && isAsked($0.number) }.map(\.space))
      return spaces.reduce(0) { sum, space in
        sum + (state.spaces[space]?.segments.values.filter { $0 === self }.count ?? 0)
      }
    }
  }

  var resident: UInt64 { UInt64(bytes.withLock { Set($0.keys.map { $0 / 4096 }).count }) * 4096 }

  subscript(offset: UInt64) -> UInt8 {
    get { bytes.withLock { $0[offset] ?? 0 } }
    set { bytes.withLock { $0[offset] = newValue } }
  }
}

/// What a simulated process and its machine have for System V shared memory.
struct MockSegmentHost: SegmentHost {
  let kernel: MockKernel

  var lockedMemoryLimit: UInt64 { 0x80_0000 }

  func makeMemory(_ request: SegmentRequest) throws(Errno) -> any SegmentMemory {
    if request.largePages != nil { throw .noMemory }
    return MockSegment(size: request.size, kernel)
  }

  func checkMemory(for size: UInt64) throws(Errno) {
    if size > 1 << 40 { throw .noMemory }
  }
}

extension MockProcess {
  /// Makes the kernel's part of `shmat` or `shmdt`.
  func change(_ change: SegmentChange) -> CallResult {
    let outcome = changeMemory { memory -> CallResult in
      switch change {
      case .map(let mapping):
        guard let segment = mapping.memory as? MockSegment else { return .failure(.noMemory) }
        return memory.map(segment, at: mapping.address, replaces: mapping.replaces)
      case .unmap(let address, let table):
        guard let segment = memory.segments[address.rawValue],
          table.size(ofMemory: segment.identity) != nil
        else { return .failure(.invalidArgument) }
        memory.unmap(address)
        return .success(Int(segment.identity))
      }
    }
    return outcome ?? .failure(.noSuchProcess)
  }
}
