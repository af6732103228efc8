internal import PodCore
internal import PodMock
internal import SystemPackage
internal import Testing

/// Names that a process has in advance, in every order.
@Suite struct LeaseRaceTests {
  @Test("children that are named from a lease have those names, whoever forks meanwhile")
  func lease() {
    expectProtected("lease", removing: [[.step(.lease, of: .getpid)]]) { world in
      let pod = world.makePod(names: 1...8)
      let lessee = pod.boot()
      let other = pod.boot()
      world.run("lessee", lessee) { lessee in
        guard case .success(let names) = lessee.leaseNames(1), let name = names.first else {
          return
        }
        world.note("leased", Int(name.rawValue))
        let child = lessee.fork(leased: name, as: "child") { child in
          world.note("self", child.call(.getpid))
        }
        world.note("child", child)
      }
      world.run("other", other) { world.note("other", $0.fork(as: "sibling") { _ in }) }
      world.always("the child has the leased name") {
        let leased = world.noted("leased")
        return [nil, leased].contains(world.noted("child"))
          && [nil, leased].contains(world.noted("self"))
      }
      world.always("nobody else has it") {
        world.noted("other") == nil || world.noted("other") != world.noted("leased")
      }
      world.finallyConsistent(pod)
    }
  }

  @Test("what a process didn't use is free after its end, whenever that is")
  func endOfLessee() {
    expectProtected(
      "end of a lessee",
      removing: [[.step(.retire, on: .event), .step(.reap, on: .event)]]
    ) { world in
      let pod = world.makePod(names: 1...6)
      let lessee = pod.boot()
      let killer = pod.boot()
      world.run("lessee", lessee) { lessee in
        if case .success(let names) = lessee.leaseNames(2), let name = names.first {
          lessee.fork(leased: name, as: "child") { _ in }
        }
      }
      world.run("killer", killer) { $0.call(.kill, 2, 9) }
      world.finallyConsistent(pod)
    }
  }

  @Test("a new program has no names of the old one's")
  func exec() {
    expectProtected(
      "exec of a lessee", removing: [[.step(.publish, of: .execve), .step(.publish, on: .event)]]
    ) { world in
      let pod = world.makePod(names: 1...6)
      let lessee = pod.boot()
      world.run("lessee", lessee) { lessee in
        guard case .success(let names) = lessee.leaseNames(2), let name = names.first else {
          return
        }
        lessee.call(.execve, 0)
        world.note("late", lessee.fork(leased: name, as: "child") { _ in })
      }
      world.always("they are nobody's") { [nil, -11].contains(world.noted("late")) }
      world.finally("nothing is leased") { pod.names.processes.space.lessees.isEmpty }
      world.finallyConsistent(pod)
    }
  }

  @Test("a fork takes a leased name that isn't in use rather than fail")
  func shortOfNames() {
    // Leaving out a step shows nothing: taking back and using are steps of one table each.
    expectProtected("short of names", removing: []) { world in
      let pod = world.makePod(names: 1...5)
      let lessee = pod.boot()
      let other = pod.boot()
      world.run("lessee", lessee) { lessee in
        guard case .success(let names) = lessee.leaseNames(4) else { return }
        world.note("leased", names.count)
        for name in names {
          world.note("used \(name)", lessee.fork(leased: name, as: "child") { _ in })
        }
      }
      world.run("other", other) { world.note("other", $0.fork(as: "sibling") { _ in }) }
      world.finally("two children were made, and each name was given out once") {
        let all = ["used 4", "used 5", "other"].compactMap { world.noted($0) }.filter { $0 > 0 }
        return all.sorted() == [4, 5]
      }
      world.finallyConsistent(pod)
    }
  }

  @Test("of two that choose a name one gets it, and the policy gives it to nobody")
  func chosen() {
    expectProtected("chosen name", removing: []) { world in
      let pod = world.makePod(names: 1...6)
      let first = pod.boot()
      let second = pod.boot()
      let third = pod.boot()
      let name = VirtualName<ProcessID>(rawValue: 5)
      world.run("first", first) { world.note("first", $0.fork(chosen: name, as: "a") { _ in }) }
      world.run("second", second) {
        world.note("second", $0.fork(chosen: name, as: "b") { _ in })
      }
      world.run("third", third) { world.note("third", $0.fork(as: "c") { _ in }) }
      world.finally("one has it") {
        let all = ["first", "second", "third"].compactMap { world.noted($0) }
        return all.count { $0 == 5 } == 1 && all.allSatisfy { [5, 6, -17].contains($0) }
      }
      world.finallyConsistent(pod)
    }
  }

  @Test("a name that can't be chosen is refused with clone3's errnos")
  func refusedChoices() {
    let pod = MockKernel().makePod(names: 1...6)
    let process = pod.boot()
    for (number, error) in [(2, Errno.fileExists), (7, .invalidArgument), (0, .invalidArgument)] {
      let result = process.fork(chosen: VirtualName(rawValue: Int32(number))) { _ in }
      #expect(result == .failure(error), "\(number)")
    }
    #expect(process.leaseNames(0) == .failure(.invalidArgument))
    #expect(process.leaseNames(ProcessTable.longestLease + 1) == .failure(.invalidArgument))
    #expect((try? process.leaseNames(10).get())?.map(\.rawValue) == [3, 4, 5, 6])
    #expect(process.leaseNames(1).map(\.count) == .success(1))
    #expect(pod.inconsistencies.isEmpty)
    process.exit()
    #expect(pod.names.processes.space.lessees.isEmpty)
  }
}
