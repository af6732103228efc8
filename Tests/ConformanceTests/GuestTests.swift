import CLinux
import Glibc
import PodCore
import PodTestSupport
import Synchronization
import Testing

/// What a host program has before, during and after pods (DESIGN.md §4.8), counted in a process of its own. One after the
/// other, since each keeps a thread of the test program waiting.
@Suite("a good guest", .serialized)
struct GuestTests {
  @Test(
    "descriptors, threads and children are as before after 30 pods", arguments: TestBackend.usual)
  func nothingIsLeft(backend: TestBackend) async {
    await #expect(processExitsWith: .success) { [backend = backend as TestBackend] in
      // The first pods start what the language runtime keeps: its threads and timers.
      for _ in 0..<5 { try await onePod(backend) }
      try await Task.sleep(for: .milliseconds(10))
      let before = Holdings()
      // A counter that sees nothing would pass everything: it has to see one descriptor and one thread more.
      let extra = open("/dev/null", O_RDONLY)
      #expect(Holdings().descriptors == before.descriptors + 1)
      close(extra)
      for _ in 0..<30 { try await onePod(backend) }
      await settle { Holdings() == before }
      #expect(Holdings() == before)
      if Holdings() != before { print("before \(before), after \(Holdings())") }
      exit(Holdings() == before ? 0 : 1)
    }
  }

  @Test(
    "50 pods one after another and 8 at once: no more memory is in use than before",
    arguments: TestBackend.usual)
  func noGrowth(backend: TestBackend) async {
    await #expect(processExitsWith: .success) { [backend = backend as TestBackend] in
      for _ in 0..<2 { try await eightPods(backend) }
      for _ in 0..<10 { try await onePod(backend) }
      let before = Memory()
      // A counter that sees nothing would pass everything: a pod's table has to show.
      let (seen, room) = try await withPod(backend: backend.backend) { _ in
        (Memory().addresses - before.addresses, PodConfiguration().capacity * 32)
      }
      if seen < room {
        print("a pod's table takes \(seen) bytes of addresses, less than \(room)")
        exit(2)
      }
      for _ in 0..<50 { try await onePod(backend) }
      try await eightPods(backend)
      await settle { Memory().addresses - before.addresses < room * 4 }
      let after = Memory()
      let growth = (after.addresses - before.addresses, after.resident - before.resident)
      print("58 pods: \(growth.0 >> 10) KiB of addresses and \(growth.1 >> 10) KiB in memory more")
      // 58 tables would be more than ten times as much.
      exit(growth.0 < room * 4 && growth.1 < 4 << 20 ? 0 : 1)
    }
  }

  @Test("a host with 64 threads, waiting and working: all go on", arguments: TestBackend.usual)
  func manyThreads(backend: TestBackend) async {
    await #expect(processExitsWith: .success) { [backend = backend as TestBackend] in
      let crew = Crew(waiting: 56, working: 8)
      for _ in 0..<3 { try await onePod(backend) }
      let before = crew.work
      for _ in 0..<200 where crew.work == before {
        try? await Task.sleep(for: .milliseconds(10))
      }
      guard crew.work > before else { exit(2) }
      // A call that waits isn't interrupted.
      exit(crew.interruptions == 0 && crew.dismiss() ? 0 : 1)
    }
  }

  @Test(
    "a host with 1 GiB of memory: its pods cost what a small host's do",
    arguments: TestBackend.usual)
  func largeHost(backend: TestBackend) async throws {
    var pages = sysconf(Int32(_SC_AVPHYS_PAGES))
    pages *= sysconf(Int32(_SC_PAGESIZE))
    if pages < 3 << 30 { try Test.cancel("this machine has less than 3 GiB free") }
    await #expect(processExitsWith: .success) { [backend = backend as TestBackend] in
      func cost() async throws -> (faults: Int, time: Duration) {
        var best = (faults: Int.max, time: Duration.seconds(100))
        for _ in 0..<8 {
          let faults = Memory.faults
          let begin = ContinuousClock.now
          try await withPod(backend: backend.backend) { pod in
            _ = try await pod.run(.name("true"), output: .discarded)
          }
          best.faults = min(best.faults, Memory.faults - faults)
          best.time = min(best.time, ContinuousClock.now - begin)
        }
        return best
      }
      _ = try await cost()
      let small = try await cost()
      let size = 1 << 30
      guard
        let block = mmap(
          nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
        block != MAP_FAILED
      else { exit(3) }
      madvise(block, size, 15)  // MADV_NOHUGEPAGE: a fork would copy as many tables as it can
      for offset in stride(from: 0, to: size, by: 4096) {
        block.storeBytes(of: 1, toByteOffset: offset, as: UInt8.self)
      }
      let resident = Memory().resident
      let large = try await cost()
      print("a pod in a small host: \(small); in one of 1 GiB: \(large)")
      // A fork would take 20 ms more, and a fault for each page that is written while the child lives.
      let isCheap =
        large.faults < small.faults * 2 + 200 && large.time < small.time * 2 + .milliseconds(10)
      exit(isCheap && Memory().resident - resident < 16 << 20 ? 0 : 1)
    }
  }

  @Test(
    "a host that ignores SIGCHLD, has no standard streams, and has moved",
    arguments: TestBackend.usual)
  func oddHost(backend: TestBackend) async {
    let result = await #expect(
      processExitsWith: .success, observing: [\.standardErrorContent]
    ) { [backend = backend as TestBackend] in
      // The language's runtime has what it needs before, its timers too.
      try await onePod(backend)
      try await Task.sleep(for: .milliseconds(10))
      // What is wrong is told where nothing of ours can take it for a stream.
      let teller = Teller()
      signal(SIGCHLD, SIG_IGN)
      for descriptor: Int32 in 0...2 { close(descriptor) }
      chdir("/usr")
      umask(0o027)
      for _ in 0..<3 {
        do {
          try await withPod(backend: backend.backend) { pod in
            let result = try await pod.run(
              .name("sh"), arguments: ["-c", "pwd; umask; (exit 3) & wait $!; echo $?"],
              input: .none, output: .string(limit: 100), error: .combinedWithOutput)
            teller.check(result.standardOutput == "/usr\n0027\n3\n", result.standardOutput)
            teller.check(result.terminationStatus.isSuccess, result.terminationStatus)
          }
        } catch {
          teller.check(false, error)
        }
      }
      let before = umask(0o027)
      teller.check(before == 0o027, "umask \(before)")
      var action = sigaction()
      sigaction(SIGCHLD, nil, &action)
      let isIgnored =
        unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
        == unsafeBitCast(SIG_IGN, to: Int.self)
      teller.check(isIgnored, "SIGCHLD isn't ignored any more")
      for stream: Int32 in 0...2 where fcntl(stream, F_GETFD) >= 0 {
        teller.check(false, "where stream \(stream) was is \(fileName(stream))")
      }
      teller.tell("done")
      exit(0)
    }
    let words = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
    #expect(words == "done\n")
  }

  @Test("8 pods at once, in a host with 256 descriptors", arguments: TestBackend.usual)
  func fewDescriptors(backend: TestBackend) async {
    await #expect(processExitsWith: .success) { [backend = backend as TestBackend] in
      var limit = rlimit(rlim_cur: 256, rlim_max: 256)
      setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
      try await eightPods(backend)
      exit(0)
    }
  }

  @Test(
    "signal dispositions, mask, directory and limits are the host's own",
    arguments: TestBackend.usual)
  func unchanged(backend: TestBackend) async {
    await #expect(processExitsWith: .success) { [backend = backend as TestBackend] in
      let before = Attributes()
      try await withPod(backend: backend.backend) { pod in
        _ = try await pod.run(.name("true"), output: .discarded)
        if Attributes() != before { exit(2) }
      }
      exit(Attributes() == before ? 0 : 1)
    }
  }
}

/// Says what is wrong on a descriptor of its own, in a process that gives its standard streams away.
private final class Teller: Sendable {
  private let descriptor = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10)

  func tell(_ words: String) { write(descriptor, words + "\n", words.utf8.count + 1) }

  func check(_ isRight: Bool, _ what: Any) {
    if !isRight { tell("wrong: \(what)") }
  }
}

/// What file a descriptor of this process is open for.
private func fileName(_ descriptor: Int32) -> String {
  var name = [CChar](repeating: 0, count: 200)
  let count = max(0, readlink("/proc/self/fd/\(descriptor)", &name, name.count))
  return String(decoding: name.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

private func onePod(_ backend: TestBackend) async throws {
  try await withPod(backend: backend.backend) { pod in
    let result = try await pod.run(
      .name("sh"), arguments: ["-c", "sleep 1000 & true; echo $$"], output: .string(limit: 100))
    #expect(result.standardOutput == "2\n")
  }
}

private func eightPods(_ backend: TestBackend) async throws {
  try await withThrowingTaskGroup(of: Void.self) { group in
    for _ in 0..<8 { group.addTask { try await onePod(backend) } }
    try await group.waitForAll()
  }
}

/// Threads of a host program, in a system call or at work.
private final class Crew: Sendable {
  private let pipe: (read: Int32, write: Int32)
  private let worked = Atomic<Int>(0)
  private let interrupted = Atomic<Int>(0)
  private let dismissed = Atomic<Bool>(false)
  private let threads: [pthread_t]

  private final class Member {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
  }

  init(waiting: Int, working: Int) {
    var ends: [Int32] = [-1, -1]
    Glibc.pipe(&ends)
    pipe = (ends[0], ends[1])
    nonisolated(unsafe) var bodies: [() -> Void] = []
    nonisolated(unsafe) weak var crew: Crew?
    let read = ends[0]
    for _ in 0..<waiting {
      bodies.append {
        var byte: UInt8 = 0
        while Glibc.read(read, &byte, 1) < 0 { crew?.interrupted.add(1, ordering: .relaxed) }
      }
    }
    for _ in 0..<working {
      bodies.append {
        while crew?.dismissed.load(ordering: .relaxed) != true {
          crew?.worked.add(1, ordering: .relaxed)
          usleep(500)
        }
      }
    }
    let pending = bodies
    var threads: [pthread_t] = []
    for body in pending {
      var thread = pthread_t()
      pthread_create(
        &thread, nil,
        { argument in
          if let argument { Unmanaged<Member>.fromOpaque(argument).takeRetainedValue().body() }
          return nil
        }, Unmanaged.passRetained(Member(body)).toOpaque())
      threads.append(thread)
    }
    self.threads = threads
    crew = self
  }

  var work: Int { worked.load(ordering: .relaxed) }
  var interruptions: Int { interrupted.load(ordering: .relaxed) }

  /// Lets all end; whether they did.
  func dismiss() -> Bool {
    dismissed.store(true, ordering: .relaxed)
    let bytes = [UInt8](repeating: 0, count: threads.count)
    guard write(pipe.write, bytes, bytes.count) == bytes.count else { return false }
    return threads.allSatisfy { pthread_join($0, nil) == 0 }
  }
}

/// How much memory a process has.
private struct Memory {
  /// In bytes of addresses.
  var addresses = 0
  /// In bytes of memory.
  var resident = 0

  init() {
    guard let file = fopen("/proc/self/statm", "r") else { return }
    defer { fclose(file) }
    var text = [CChar](repeating: 0, count: 100)
    fgets(&text, 100, file)
    let words = String(
      decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self
    )
    .split(separator: " ").compactMap { Int($0) }
    guard words.count > 1 else { return }
    (addresses, resident) = (words[0] * 4096, words[1] * 4096)
  }

  /// Page faults so far that needed no device.
  static var faults: Int {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return usage.ru_minflt
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
