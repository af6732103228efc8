internal import Foundation
internal import PodCore
internal import PodMock
internal import SystemPackage
internal import Testing

/// A pod's tables are written down, and a pod on another machine is filled from them (COVERAGE C16).
@Suite struct SnapshotTests {
  /// A pod with everything that a name can be: processes in groups and sessions of their own and others', threads, an
  /// orphan, a zombie, a group whose leader is gone, and gaps.
  private func family(_ kernel: MockKernel) throws -> MockPod {
    let pod = kernel.makePod(names: 1...500)
    let shell = pod.boot()
    func fork(_ parent: MockProcess) throws -> MockProcess {
      for _ in 0..<2 {
        try pod.process(Int32(parent.call(.fork).get()))?.exit()
        _ = parent.wait()
      }
      return try #require(pod.process(Int32(try parent.call(.fork).get())))
    }
    let leader = try fork(shell)
    leader.call(.setpgid, 0, 0)
    let member = try fork(shell)
    shell.call(.setpgid, Int(member.virtual?.rawValue ?? 0), Int(leader.virtual?.rawValue ?? 0))
    leader.exit()
    _ = shell.wait()
    let daemon = try fork(shell)
    daemon.call(.setsid)
    let orphan = try fork(daemon)
    let middle = try fork(member)
    _ = try fork(middle)
    middle.exit()
    _ = member.wait()
    let zombie = try fork(shell)
    zombie.exit()
    daemon.call(.clone, 0x10100)
    daemon.call(.clone, 0x10100)
    orphan.call(.clone, 0x10100)
    _ = pod.boot(as: .groupLeader)
    #expect(pod.inconsistencies.isEmpty)
    return pod
  }

  private func copy(_ pod: MockPod) throws -> PodSnapshot {
    let text = try JSONEncoder().encode(pod.names.snapshot())
    return try JSONDecoder().decode(PodSnapshot.self, from: text)
  }

  private func names(_ pod: MockPod) -> [String] {
    let processes = pod.names.snapshot().processes
    return processes.names.map { name in
      "\(name.kind) \(name.number) \(name.state) of \(name.process), parent \(name.parent), "
        + "group \(name.group), session \(name.session)"
    } + ["next \(processes.next)"]
  }

  @Test("it says what each name is, in the order of birth, and reads what it writes")
  func contents() throws {
    let pod = try family(MockKernel())
    let snapshot = pod.names.snapshot()
    #expect(try copy(pod) == snapshot)
    let names = snapshot.processes.names
    #expect(names.map(\.number.rawValue).prefix(4) == [1, 2, 5, 8])
    #expect(names.count { $0.state == .ended } == 1)
    #expect(names.filter { $0.state == .shown }.map(\.number.rawValue) == [5])
    #expect(names.count { $0.kind == .thread } == 3)
    #expect(names.allSatisfy { ($0.physical?.rawValue ?? 0) >= 100 })
    #expect(try PodSnapshot(processes: snapshot.processes) == snapshot)
  }

  @Test("calls in flight and leases aren't in it")
  func inFlight() throws {
    let pod = try family(MockKernel())
    let before = names(pod)
    let shell = try #require(pod.process(2))
    _ = shell.leaseNames(3)
    let thread = try #require(pod.process(2)?.physicalThread)
    let caller = try #require(pod.names.processes.caller(thread))
    let child = try pod.names.processes.announceBirth(by: caller)
    #expect(names(pod).dropLast() == before.dropLast())
    pod.names.processes.endBirth(by: caller)
    #expect(pod.names.processes.space.isFree(child))
  }

  @Test("every call in a pod that was filled from it answers as in the first one")
  func secondPod() throws {
    let first = try family(MockKernel())
    let kernel = MockKernel(numbers: 2_000...6_000)
    let second = try kernel.makePod(restoring: try copy(first))
    #expect(second.inconsistencies.isEmpty, "\(second.inconsistencies)")
    #expect(names(first) == names(second))
    let physical = Set(first.names.processes.space.entries.map(\.physical))
    #expect(physical.isDisjoint(with: second.names.processes.space.entries.map(\.physical)))

    compareAll(first, second)
    // On with life: births get the same names, ends free the same.
    let known = first.names.processes.liveProcesses.map(\.virtual.rawValue).sorted()
    for (turn, name) in known.enumerated() where name > 1 {
      for pod in [first, second] {
        guard let process = pod.process(name) else { continue }
        process.call(.fork)
        if turn % 2 == 0 { process.call(.setpgid, 0, 0) }
        if turn % 3 == 0 { process.call(.setsid) }
        if turn % 4 == 3 { process.exit() }
        _ = process.wait(options: 1)
      }
      #expect(names(first) == names(second), "after \(name)")
    }
    #expect(second.inconsistencies.isEmpty)
    compareAll(first, second)
    for pod in [first, second] { pod.end() }
    #expect(names(first).count == 2 && names(second) == names(first))
  }

  /// Calls of everybody about everybody, and about nobody.
  private func compareAll(_ first: MockPod, _ second: MockPod) {
    let callers = first.names.processes.space.entries.filter { $0.state == .live && !$0.isThread }
      .map(\.virtual.rawValue).filter { $0 > 1 }
    let all = first.names.snapshot().processes.names.map(\.number.rawValue)
    let targets = all + [0, 3, 4, 499, 501, -1, 70_000]
    for caller in callers {
      guard let one = first.process(caller), let two = second.process(caller) else {
        Issue.record("\(caller) isn't in both")
        continue
      }
      for call in [Syscall.getpid, .gettid, .getppid, .getpgrp] {
        #expect(one.call(call) == two.call(call), "\(call) of \(caller)")
      }
      for target in targets.map(Int.init) {
        for call in [Syscall.getpgid, .getsid] {
          #expect(one.call(call, target) == two.call(call, target), "\(call)(\(target))")
        }
        for sign in [1, -1] {
          #expect(
            one.call(.kill, sign * target, 0) == two.call(.kill, sign * target, 0),
            "kill(\(sign * target)) of \(caller)")
        }
        #expect(
          one.call(.tgkill, Int(caller), target, 0) == two.call(.tgkill, Int(caller), target, 0),
          "tgkill(\(caller), \(target))")
      }
    }
  }

  @Test("a pod is filled only when it is empty, and every name has a number there")
  func refusals() throws {
    let pod = try family(MockKernel())
    let snapshot = try copy(pod)
    #expect(throws: SnapshotError.notEmpty) {
      try pod.names.processes.fill(from: snapshot.processes, physical: [:])
    }
    let system = SystemNames<ProcessID>()
    let empty = PodNames(pod: PodID(rawValue: 9), system: system, range: 1...500, capacity: 500)
    #expect(throws: SnapshotError.unmatched(VirtualName(rawValue: 1))) {
      try empty.names(of: snapshot, [:])
    }
    let small = PodNames(pod: PodID(rawValue: 8), system: system, range: 1...4, capacity: 500)
    let physical = Dictionary(
      uniqueKeysWithValues: snapshot.processes.names.map {
        ($0.number, PhysicalName<ProcessID>(rawValue: $0.number.rawValue + 5_000))
      })
    #expect(throws: SnapshotError.notFitting(VirtualName(rawValue: 5))) {
      try small.names(of: snapshot, physical)
    }
    let others = SystemNames<ProcessID>()
    try others.holdOutside(PhysicalName(rawValue: 5_002))
    let used = PodNames(pod: PodID(rawValue: 7), system: others, range: 1...500, capacity: 500)
    #expect(throws: SnapshotError.notFitting(VirtualName(rawValue: 2))) {
      try used.names(of: snapshot, physical)
    }
    #expect(throws: SnapshotError.self) {
      _ = try MockKernel(numbers: 100...105).makePod(restoring: snapshot)
    }
  }

  @Test("programs of a pod that is started with names have them")
  func configuration() async throws {
    let snapshot = try copy(try family(MockKernel()))
    var configuration = PodConfiguration()
    configuration.restoredNames = snapshot
    configuration.highestProcess = 500
    let children: MockProgram = { process in
      for _ in 0..<3 { process.call(.fork) }
      process.call(.pause)
    }
    try await withPod(configuration, backend: .mock(["/bin/shell": children])) { pod in
      let request = try LaunchRequest(
        .path("/bin/shell"), input: .none, output: .discard, error: .discard)
      // The snapshot's children of init: the shell, the orphan of its grandchild, a program.
      let expected = snapshot.processes.names.filter {
        $0.kind == .process && $0.parent == ProcessTable.initial
      }.map(\.number)
      #expect(expected.count == 3)
      #expect(pod.snapshot().processes.next == snapshot.processes.next)
      for name in expected { #expect(try await pod.launch(request).identifier == name) }
      let shells = snapshot.processes.names.filter {
        $0.kind == .process && $0.parent.rawValue == 2 && $0.state != .shown
      }.map(\.number)
      while await pod.processes().count < 13 { try await Task.sleep(for: .milliseconds(1)) }
      let made = pod.snapshot().processes.names.filter { $0.parent.rawValue == 2 }.map(\.number)
      #expect(made.starts(with: [VirtualName(rawValue: 5)] + shells.prefix(2)))
    }
  }
}

extension PodNames {
  fileprivate func names(
    of snapshot: PodSnapshot, _ physical: [VirtualName<ProcessID>: PhysicalName<ProcessID>]
  ) throws(SnapshotError) {
    try processes.fill(from: snapshot.processes, physical: physical)
  }
}
