import Glibc
import PodCore
import PodTestSupport
import SystemPackage
import Testing

/// What programs make of the pod's code in their memory (`pod_page.h`): it is no trust boundary.
@Suite("Programs that attack through the pod's code in them", .serialized)
struct HostilePageTests {
  /// A process outside, of the user whose programs attack it: without a pod they could kill it.
  private struct Outsider {
    static let lowest: pid_t = 5_000
    let number: pid_t
    let before: HostProcess

    init(user: UInt32) async throws {
      var process: pid_t = 0
      let command =
        getuid() == 0
        ? ["setpriv", "--reuid", "\(user)", "--regid", "\(user)", "--clear-groups", "sleep", "600"]
        : ["sleep", "600"]
      var words = command.map { strdup($0) } + [nil]
      defer { for word in words { free(word) } }
      try #require(posix_spawnp(&process, command[0], nil, nil, &words, environ) == 0)
      // Its number is to be nobody's in the pod, whose numbers begin below.
      if process < Self.lowest {
        kill(process, SIGKILL)
        waitpid(process, nil, 0)
        while process < Self.lowest {
          var words = [strdup("true"), nil]
          defer { free(words[0]) }
          try #require(posix_spawnp(&process, "true", nil, nil, &words, environ) == 0)
          waitpid(process, nil, 0)
        }
        try #require(posix_spawnp(&process, command[0], nil, nil, &words, environ) == 0)
      }
      number = process
      let isThere = await eventually {
        HostProcess(process).map { $0.name == "sleep" && $0.state == "S" } ?? false
      }
      try #require(isThere)
      before = try #require(HostProcess(process))
    }

    /// What of it isn't as it was.
    var harm: [String] {
      var found: [String] = []
      guard let now = HostProcess(number) else { return ["it is gone"] }
      if now != before { found.append("\(before) is \(now)") }
      if getpriority(Int32(PRIO_PROCESS.rawValue), UInt32(number)) != 0 {
        found.append("its priority")
      }
      for line in contents(of: "/proc/\(number)/status")?.split(separator: "\n") ?? [] {
        if line.hasPrefix("TracerPid:"), !line.hasSuffix("\t0") { found.append("\(line)") }
        if line.hasPrefix("SigPnd:") || line.hasPrefix("ShdPnd:"),
          !line.hasSuffix("\t0000000000000000")
        {
          found.append("\(line)")
        }
      }
      return found
    }

    func end() {
      kill(number, SIGKILL)
      waitpid(number, nil, 0)
    }
  }

  @Test(
    "harm themselves alone", .timeLimit(.minutes(5)), arguments: Amount.isLong ? 1...8 : 1...1)
  func attack(seed: Int) async throws {
    let program = try await TestPrograms.path("hostile_page")
    let bystander = try await TestPrograms.path("family")
    let user = Amount.user()
    let outsider = try await Outsider(user: user)
    defer { outsider.end() }
    var configuration = PodConfiguration()
    configuration.highestProcess = outsider.number - 1
    var watching: Task<[String], Never>?
    try await withPod(configuration, backend: TestBackend.seccomp.backend) { pod in
      var options = Pod.PlatformOptions()
      if getuid() == 0 {
        (options.userID, options.groupID, options.supplementaryGroups) = (user, user, [])
      }
      let events = pod.events
      let failures = Task {
        var found: [String] = []
        for await event in events {
          if case .failed(let reason) = event { found.append(reason) }
          // What a liar says of somebody else's child.
          if case .ended(_, .exited(113)) = event { found.append("\(event)") }
        }
        return found
      }
      watching = failures
      async let others = pod.run(
        .name("sh"),
        arguments: ["-c", "i=0; while [ $i -lt 20 ]; do \(bystander) || exit 1; i=$((i+1)); done"],
        output: .string(limit: 10_000), error: .combinedWithOutput)
      let result = try await pod.run(
        .path(FilePath(program)),
        arguments: ["\(outsider.number)", "\(seed)", "\(Amount.of(150, long: 2_000))"],
        platformOptions: options, output: .string(limit: 10_000), error: .combinedWithOutput)
      if result.terminationStatus == .exited(77) {
        try Test.cancel("this pod has no code in its processes")
      }
      #expect(result.terminationStatus == .exited(0), "\(result.standardOutput)")
      #expect(result.standardOutput.hasSuffix("unharmed\n"), "\(result.standardOutput)")
      let family = try await others
      #expect(family.terminationStatus == .exited(0), "\(family.standardOutput)")
      #expect(outsider.harm == [])
      let disagreements = await pod.settledDisagreements()
      #expect(disagreements == [])
      // What jumped into the middle may have left children behind, which end with the pod.
      let after = try await pod.run(
        .name("sh"), arguments: ["-c", "true & wait $! && echo $PPID"], output: .string(limit: 100))
      #expect(after.standardOutput == "1\n")
    }
    let failures = await watching?.value
    #expect(failures == [])
    #expect(outsider.harm == [])
    if getuid() == 0 {
      #expect(HostProcess.all(of: user).map(\.number) == [outsider.number])
    }
  }
}
