internal import PodCore
internal import PodMock
internal import Synchronization
internal import Testing

@Suite struct ScheduleExplorerTests {
  private typealias Scenario = @Sendable (ScheduledWorld) -> Void

  /// All ways in which a scenario ends, by what its programs saw and what the machine was like.
  private func outcomes(
    _ scenario: Scenario, reduces: Bool, removing: Set<Protection> = []
  ) -> (Set<String>, Exploration) {
    let seen = Seen()
    let explorer = ScheduleExplorer(removing: removing, reduces: reduces, numbers: 100...104)
    let exploration = explorer.explore { world in
      scenario(world)
      world.finally("recorded") {
        let machine = world.kernel.processes.map {
          "\($0.number) in \($0.group)\($0.isZombie ? " ended" : "")"
        }
        seen.add((world.notes + machine).joined(separator: ", "))
        return true
      }
    }
    return (seen.all, exploration)
  }

  private final class Seen: Sendable {
    private let outcomes = Mutex<Set<String>>([])
    func add(_ outcome: String) {
      outcomes.withLock { outcomes -> Void in outcomes.insert(outcome) }
    }
    var all: Set<String> { outcomes.withLock { $0 } }
  }

  private static let signalAndExit: Scenario = { world in
    let pod = world.makePod()
    let target = pod.boot()
    let killer = pod.boot()
    world.run("killer", killer) { world.note("kill", $0.call(.kill, 2, 15)) }
    world.run("target", target) { $0.exit() }
    let outside = world.kernel.spawnOutside()
    world.run("outside", outside) { world.note("born", $0.fork(as: "x") { _ in }) }
  }

  private static let forkAndWait: Scenario = { world in
    let pod = world.makePod(names: 1...4)
    let parent = pod.boot()
    let other = pod.boot()
    world.run("parent", parent) { parent in
      world.note("fork", parent.fork(as: "child") { $0.exit() })
      world.note("wait", parent.wait().map(\.child))
    }
    world.run("other", other) { world.note("group", $0.call(.getpgrp)) }
  }

  private static let groups: Scenario = { world in
    let pod = world.makePod()
    let parent = pod.boot()
    parent.call(.fork)
    guard let child = pod.process(3) else { return }
    world.run("parent", parent) { world.note("a", $0.call(.setpgid, 3, 3)) }
    world.run("child", child) { child in
      world.note("b", child.call(.setpgid, 0, 2))
      world.note("c", child.call(.getpgrp))
    }
  }

  private static let entering: Scenario = { world in
    let pod = world.makePod()
    let entrant = world.kernel.spawnOutside()
    let other = world.kernel.spawnOutside()
    let number = Int(entrant.physical.rawValue)
    world.run("entrant", entrant) { world.note("name", Int($0.enter(pod)?.rawValue ?? 0)) }
    world.run("other", other) { world.note("kill", $0.call(.kill, number, 15)) }
  }

  @Test("leaving out orders that can't differ loses no outcome")
  func reductionIsSound() {
    let scenarios: [(String, Scenario)] = [
      ("signal and exit", Self.signalAndExit), ("fork and wait", Self.forkAndWait),
      ("groups", Self.groups), ("entering", Self.entering),
    ]
    for (name, scenario) in scenarios {
      for removed in [[], [Protection.step(.hold)], [.step(.retire, of: .wait4)]] {
        let (some, reduced) = outcomes(scenario, reduces: true, removing: Set(removed))
        let (all, whole) = outcomes(scenario, reduces: false, removing: Set(removed))
        report("\(name), reduced", reduced)
        report("\(name), every order", whole)
        #expect(reduced.isComplete && whole.isComplete, "\(name)")
        #expect(some == all, "\(name) without \(removed)")
        #expect(reduced.schedules <= whole.schedules)
      }
    }
  }

  @Test("processes that wait for each other are found")
  func deadlock() {
    let found = ScheduleExplorer().explore { world in
      let pod = world.makePod()
      let parent = pod.boot()
      parent.call(.fork)
      world.run("parent", parent) { _ = $0.wait() }
    }
    #expect(found.violation?.message == "deadlock: parent waits in wait4.perform(-1)")
  }

  @Test("a violation says who did what, and happens again when it is replayed")
  func replay() {
    let scenario: Scenario = { world in
      let pod = world.makePod()
      let first = pod.boot()
      let second = pod.boot()
      world.run("first", first) { $0.call(.kill, 3, 9) }
      world.run("second", second) { $0.call(.getppid) }
      world.always("second lives") { second.isRunning }
    }
    let explorer = ScheduleExplorer()
    let violation = explorer.explore(scenario).violation
    #expect(violation?.trace.last?.description == "first: kill.perform(102)")
    #expect(explorer.replay(violation?.choices ?? [], scenario)?.trace == violation?.trace)
    #expect(explorer.replay([], scenario)?.message == "second lives")
  }

  @Test("a scenario that isn't the same each time is reported, not followed")
  func nondeterminism() {
    let runs = Mutex(0)
    let found = ScheduleExplorer().explore { world in
      let run = runs.withLock { runs in
        runs += 1
        return runs
      }
      let pod = world.makePod()
      let first = pod.boot()
      let second = pod.boot()
      world.run("first", first) { $0.call(.setsid) }
      world.run("second", second) { if run == 1 { $0.call(.setsid) } }
      world.run("third", second) { if run == 1 { $0.call(.setsid) } }
    }
    #expect(found.violation?.message.contains("isn't deterministic") == true)
  }
}
