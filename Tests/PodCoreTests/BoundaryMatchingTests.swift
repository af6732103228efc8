internal import PodMock
internal import SystemPackage
internal import Testing

@testable internal import PodCore

@Suite struct BoundaryMatchingTests {
  @Test("a row is for the calls that meet all its conditions, and the default row for the rest")
  func variants() {
    let table = BoundaryTable(rows: [
      .refused(.ioctl, .notPermitted, because: "default"),
      .refused(.ioctl, when: .argument(1, is: 5, "FIVE"), .noFunction, because: "5"),
      .refused(
        .ioctl, when: .argument(1, is: 6, "SIX").and(.argument(2, masked: 0xF0, is: 0x20, "TWO")),
        .invalidArgument, because: "6 with 2"),
    ])
    func errno(_ arguments: CallArguments) -> Errno? {
      table.row(for: .ioctl, arguments)?.staticErrno
    }
    #expect(errno(CallArguments(0, 5)) == .noFunction)
    // The kernel reads 32 bits.
    #expect(errno(CallArguments(0, 0xFFFF_FFFF_0000_0005)) == .noFunction)
    #expect(errno(CallArguments(0, 6, 0x12F)) == .invalidArgument)
    #expect(errno(CallArguments(0, 6, 0x30)) == .notPermitted)
    #expect(errno(CallArguments()) == .notPermitted)
    #expect(table.row(for: .read, CallArguments()) == nil)
    #expect(table.rows(for: .ioctl).last?.variant.conditions.isEmpty == true)
    #expect(
      Variant.argument(1, is: 6, "SIX").and(.argument(2, is: 1, "ONE")).label == "SIX, ONE")
  }

  @Test("special values of a name are never translated, and groups are by their magnitude")
  func shapes() {
    let kernel = MockKernel()
    let process = kernel.boot()
    guard let pod = process.pod else { return }
    let names = pod.names
    let kill = NameShape(
      ProcessID.self, zero: .callersGroup, minusOne: .everyone, negative: .group)
    let plain = NameShape(ProcessID.self)
    let physical = process.physical.rawValue
    #expect(kill.virtual(of: physical, in: names) == 2)
    #expect(kill.virtual(of: -physical, in: names) == -2)
    #expect(kill.virtual(of: 0, in: names) == 0)
    #expect(kill.virtual(of: -1, in: names) == -1)
    #expect(kill.virtual(of: .min, in: names) == .min)
    #expect(plain.virtual(of: -physical, in: names) == -physical)
    // What is outside the pod is shown as 0.
    #expect(kill.virtual(of: 1, in: names) == 0)
    #expect(kill.virtual(of: -9_999, in: names) == 0)
  }

  @Test("special values of a call's target reach the kernel as they are")
  func specialTargets() {
    let kernel = MockKernel()
    let process = kernel.boot()
    process.set(.ignore, for: 15)
    #expect(process.call(.kill, 0, 15) == .success(0))
    #expect(process.call(.kill, -2, 15) == .success(0))
    #expect(process.call(.kill, -1, 15) == .failure(.noSuchProcess))
    #expect(process.call(.kill, Int(Int32.min), 15) == .failure(.noSuchProcess))
    #expect(process.call(.kill, 1, 9) == .success(0))
    #expect(process.call(.kill, 2, 65) == .failure(.invalidArgument))
    #expect(process.call(.getpgid, -5) == .failure(.noSuchProcess))
    #expect(process.call(.setpgid, 0, -1) == .failure(.invalidArgument))
    #expect(process.call(.tgkill, 0, 2, 0) == .failure(.invalidArgument))
  }
}
