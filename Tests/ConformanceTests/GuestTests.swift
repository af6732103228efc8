import CLinux
import Glibc
import PodCore
import PodPtrace
import PodTestSupport
import Testing

/// What a host program has before, during and after pods (DESIGN.md §4.8), counted in a process of its own.
@Suite("a good guest")
struct GuestTests {
  @Test("descriptors, threads and children are as before after 30 pods")
  func nothingIsLeft() async {
    await #expect(processExitsWith: .success) {
      // The first pods start what the language runtime keeps: its threads and timers.
      for _ in 0..<5 { try await onePod() }
      try await Task.sleep(for: .milliseconds(10))
      let before = Holdings()
      // A counter that sees nothing would pass everything: it has to see one descriptor and one thread more.
      let extra = open("/dev/null", O_RDONLY)
      #expect(Holdings().descriptors == before.descriptors + 1)
      close(extra)
      for _ in 0..<30 { try await onePod() }
      await settle { Holdings() == before }
      #expect(Holdings() == before)
      if Holdings() != before { print("before \(before), after \(Holdings())") }
      exit(Holdings() == before ? 0 : 1)
    }
  }

  @Test("8 pods at once, in a host with 256 descriptors")
  func fewDescriptors() async {
    await #expect(processExitsWith: .success) {
      var limit = rlimit(rlim_cur: 256, rlim_max: 256)
      setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in 0..<8 { group.addTask { try await onePod() } }
        try await group.waitForAll()
      }
      exit(0)
    }
  }

  @Test("signal dispositions, mask, directory and limits are the host's own")
  func unchanged() async {
    await #expect(processExitsWith: .success) {
      let before = Attributes()
      try await withPod(backend: .ptrace) { pod in
        _ = try await pod.run(.name("true"), output: .discarded)
        if Attributes() != before { exit(2) }
      }
      exit(Attributes() == before ? 0 : 1)
    }
  }
}

private func onePod() async throws {
  try await withPod(backend: .ptrace) { pod in
    let result = try await pod.run(
      .name("sh"), arguments: ["-c", "sleep 1000 & true; echo $$"], output: .string(limit: 100))
    #expect(result.standardOutput == "2\n")
  }
}

private func settle(_ condition: () -> Bool) async {
  for _ in 0..<200 where !condition() { try? await Task.sleep(for: .milliseconds(10)) }
}

/// What a process holds that a pod could leave behind.
private struct Holdings: Equatable {
  var descriptors = entries(of: "/proc/self/fd")
  var threads = entries(of: "/proc/self/task")
  var hasChildren = waitpid(-1, nil, WNOHANG | Int32(bitPattern: 0x4000_0000)) != -1

  private static func entries(of path: String) -> Int {
    guard let directory = opendir(path) else { return -1 }
    defer { closedir(directory) }
    var count = 0
    while readdir(directory) != nil { count += 1 }
    return count
  }
}

/// What else belongs to the host program.
private struct Attributes: Equatable {
  var handlers: [UInt]
  var mask: UInt64
  var directory: String
  var openFiles: UInt
  var isSubreaper: Int32

  init() {
    handlers = (1...64).map { signal in
      var action = sigaction()
      sigaction(Int32(signal), nil, &action)
      return UInt(bitPattern: unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self))
    }
    var set = sigset_t()
    pthread_sigmask(SIG_SETMASK, nil, &set)
    mask = UInt64(set.__val.0)
    directory = getcwd(nil, 0).map { String(cString: $0) } ?? ""
    var limit = rlimit()
    getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    openFiles = UInt(limit.rlim_cur)
    var subreaper: Int32 = -1
    _ = withUnsafeMutablePointer(to: &subreaper) {
      // PR_GET_CHILD_SUBREAPER
      CLinux_prctl(37, UInt(bitPattern: $0), 0, 0, 0)
    }
    isSubreaper = subreaper
  }
}
