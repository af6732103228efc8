internal import ArgumentParser
internal import PodCore
internal import PodPtrace
internal import PodSeccomp

/// `podrun machine`: what pods get on this machine.
struct MachineCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "podrun machine",
    abstract:
      "Print what pods get on this machine, by backend: whether it works, and what contains them.",
    discussion: """
      kernel: the kernel enforces it; supervisor: a supervisor that programs can't reach makes or checks the calls; \
      namedOnly: names are private, and a program that works around them isn't stopped; none: the host's.
      """)

  func run() {
    let machine = MachineSupport.ask()
    describe(SeccompBackend(fallback: .none), lacks: machine.shortcomings)
    describe(PtraceBackend(), lacks: [])
  }

  private func describe(_ backend: some Backend, lacks: [String]) {
    let name = type(of: backend).name
    if let obstacle = backend.capabilities.unavailable {
      print("\(name): doesn't work here: \(obstacle)\n")
      return
    }
    print("\(name): nothing that can be asked for beforehand is missing")
    for lack in lacks { print("  does without: \(lack)") }
    let containment = backend.containment(for: PodConfiguration())
    for subsystem in Containment.Subsystem.allCases {
      let part = containment.parts[subsystem].map { "\($0)" } ?? "none: the host's"
      print("  containment of \(subsystem.rawValue): \(part)")
    }
    print()
  }
}
