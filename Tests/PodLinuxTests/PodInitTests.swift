import CLinux
import CPodVDSO
import Glibc
import PodLinux
import SystemPackage
import Testing

/// An init that is supervised by a filter that asks about nothing, so that nobody has to answer.
private func allowingInit() throws -> PodInit {
  let podInit = try PodInit.start(mode: .supervised)
  let filter = try FilterRules([:], unlisted: .allow).program().bytes
  _ = try podInit.supervise(.init(filter: filter, isScoped: false))
  return podInit
}

private func bytes(_ strings: [String]) -> [[UInt8]] {
  strings.map { Array($0.utf8) }
}

@Suite("The pod's init, launching", .timeLimit(.minutes(1)))
struct PodInitTests {
  /// Launches a program with its output in a pipe; the output is complete when the program has ended.
  private func output(
    of podInit: PodInit, _ specification: LaunchSpecification, id: UInt32 = 1,
    further: [PodInit.PassedDescriptor] = []
  ) throws -> String {
    let (reading, writing) = try makePipe()
    let null = try FileDescriptor.open("/dev/null", .readWrite)
    do {
      let end = OwnedDescriptor(owning: writing)
      try podInit.launch(
        specification, id: id,
        descriptors: [.init(null, as: 0), .init(end.borrowed, as: 1), .init(end.borrowed, as: 2)]
          + further)
    }
    try null.close()
    defer { close(reading) }
    return readToEnd(reading)
  }

  private func shell(_ script: String) -> LaunchSpecification {
    LaunchSpecification(
      paths: ["/bin/sh"], arguments: bytes(["sh", "-c", script]),
      environment: bytes(["PATH=/usr/bin:/bin"]), flags: .noNewPrivileges)
  }

  @Test("starts, runs a program, and ends without a trace")
  func life() throws {
    let podInit = try allowingInit()
    #expect(try output(of: podInit, .init(paths: ["/bin/true"], arguments: [[116]])) == "")
    #expect(try output(of: podInit, shell("echo hi")) == "hi\n")
    podInit.end()
    #expect(try podInit.waitUntilEnded(milliseconds: 5_000))
    #expect(throws: Errno.brokenPipe) { try podInit.launch(shell("true"), id: 2, descriptors: []) }
    #expect(throws: Errno.brokenPipe) { try podInit.ring() }
  }

  @Test("dropping the value ends init")
  func dropped() throws {
    var podInit: PodInit? = try allowingInit()
    let pidfd = OwnedDescriptor(owning: CLinux_pidfd_open(try #require(podInit).processID, 0))
    #expect(pidfd.rawValue >= 0)
    podInit = nil
    var entry = pollfd(fd: pidfd.rawValue, events: Int16(POLLIN), revents: 0)
    #expect(poll(&entry, 1, 5_000) == 1)
  }

  @Test("init is no child of the host")
  func noChild() throws {
    let podInit = try allowingInit()
    var status: Int32 = 0
    #expect(waitpid(podInit.processID, &status, WNOHANG) == -1)
    #expect(CLinux_wait4(podInit.processID, &status, Int32(CLinux_WAIT_ALL) | WNOHANG, nil) < 0)
  }

  @Test("init has its own descriptors only, its own session and ignores the polite signals")
  func surroundings() throws {
    let podInit = try allowingInit()
    let pid = podInit.processID
    let script = """
      for f in /proc/\(pid)/fd/*; do readlink $f | tr -d '0-9[]'; done
      cat /proc/\(pid)/comm
      """
    let table = try output(of: podInit, shell(script))
    // The last descriptor is a pidfd of the host, whose link older kernels call otherwise.
    let lines = table.split(separator: "\n")
    #expect(lines.prefix(3) == ["anon_inode:eventpoll", "anon_inode:signalfd", "socket:"])
    #expect(lines.count == 5 && lines.last == "pod-init")
    #expect(getsid(podInit.processID) == podInit.processID)
    for number in [SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGUSR1, SIGCHLD, SIGTSTP, SIGABRT] {
      try podInit.signal(number)
    }
    #expect(try output(of: podInit, shell("echo alive")) == "alive\n")
    try podInit.ring()
    #expect(try output(of: podInit, shell("echo alive")) == "alive\n")
  }

  @Test("a program's signals are at their default and none is blocked")
  func signals() throws {
    let podInit = try allowingInit()
    let status = try output(
      of: podInit, .init(paths: ["/bin/cat"], arguments: bytes(["cat", "/proc/self/status"])))
    for set in ["SigBlk", "SigIgn", "SigCgt"] {
      #expect(status.contains("\(set):\t0000000000000000\n"))
    }
  }

  @Test("only the passed descriptors are there, even when their numbers cross")
  func descriptors() throws {
    let podInit = try allowingInit()
    var files: [PodInit.PassedDescriptor] = []
    var owners: [Int32] = []
    for target: Int32 in [9, 3, 5, 4, 40] {
      let file = CLinux_memfd_create("file\(target)", 0)
      owners.append(file)
      files.append(.init(FileDescriptor(rawValue: file), as: target))
    }
    defer { owners.forEach { close($0) } }
    let list = try output(
      of: podInit,
      shell("for f in 3 4 5 9 40; do readlink /proc/$$/fd/$f; done; exec ls /proc/self/fd"),
      further: files)
    let lines = list.split(separator: "\n")
    for (line, number) in zip(lines, [3, 4, 5, 9, 40]) {
      #expect(line == "/memfd:file\(number) (deleted)")
    }
    // 6 is the directory that ls reads.
    #expect(lines.dropFirst(5) == ["0", "1", "2", "3", "4", "40", "5", "6", "9"])
  }

  @Test("directory, umask and environment are as asked")
  func settings() throws {
    let podInit = try allowingInit()
    var specification = shell("pwd; umask; echo $WORD; ps -o sid= -p $$ | tr -d ' '; echo $$")
    specification.workingDirectory = "/usr"
    specification.fileModeCreationMask = 0o027
    specification.environment.append(Array("WORD=word".utf8))
    specification.flags.insert(.newSession)
    let lines = try output(of: podInit, specification).split(separator: "\n")
    #expect(lines.prefix(3) == ["/usr", "0027", "word"])
    #expect(lines.count == 5 && lines[3] == lines[4])
  }

  @Test("user, groups and capabilities are as asked", .enabled(if: geteuid() == 0))
  func credentials() throws {
    let podInit = try allowingInit()
    let script =
      "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs)' /proc/self/status | tr -s '\\t ' ' ' | sed 's/ $//'"
    var specification = shell(script)
    specification.userID = 1234
    specification.groupID = 2345
    specification.supplementaryGroups = [11, 12]
    specification.capabilities = 0x21
    #expect(
      try output(of: podInit, specification) == """
        Uid: 1234 1234 1234 1234
        Gid: 2345 2345 2345 2345
        Groups: 11 12
        CapInh: 0000000000000000
        CapPrm: 0000000000000000
        CapEff: 0000000000000000
        CapBnd: 0000000000000021
        CapAmb: 0000000000000000
        NoNewPrivs: 1

        """)
    var root = shell(script)
    root.supplementaryGroups = []
    root.capabilities = 0x21
    root.flags = []
    #expect(
      try output(of: podInit, root) == """
        Uid: 0 0 0 0
        Gid: 0 0 0 0
        Groups:
        CapInh: 0000000000000000
        CapPrm: 0000000000000021
        CapEff: 0000000000000021
        CapBnd: 0000000000000021
        CapAmb: 0000000000000000
        NoNewPrivs: 1

        """)
  }

  @Test("a terminal becomes the controlling one")
  func terminal() throws {
    let podInit = try allowingInit()
    let leader = OwnedDescriptor(owning: CLinux_open("/dev/ptmx", O_RDWR | O_NOCTTY, 0))
    var locked: Int32 = 0
    try #require(CLinux_ioctl(leader.rawValue, CLinux_TIOCSPTLCK, &locked) == 0)
    let follower = OwnedDescriptor(
      owning: CLinux_ioctl_value(
        leader.rawValue, CLinux_TIOCGPTPEER, UInt(O_RDWR | O_NOCTTY | O_CLOEXEC)))
    let (reading, writing) = try makePipe()
    var specification = shell("echo terminal </dev/tty >&3 && tty >&3")
    specification.flags = [.newSession, .controllingTerminal]
    do {
      let end = OwnedDescriptor(owning: writing)
      try podInit.launch(
        specification, id: 1,
        descriptors: [
          .init(follower.borrowed, as: 0), .init(follower.borrowed, as: 1),
          .init(follower.borrowed, as: 2), .init(end.borrowed, as: 3),
        ])
    }
    #expect(readToEnd(reading).hasPrefix("terminal\n/dev/pts/"))
    close(reading)
  }

  @Test("several megabytes of arguments and environment arrive")
  func large() throws {
    let podInit = try allowingInit()
    // The kernel takes 128 KiB a string at most.
    var specification = LaunchSpecification(
      paths: ["/bin/sh"], arguments: bytes(["sh", "-c", "echo $# ${#V1} ${#V9}", "sh"]))
    specification.arguments += [[UInt8]](repeating: .init(repeating: 65, count: 100_000), count: 8)
    for index in 0..<10 {
      specification.environment.append(
        Array("V\(index)=".utf8) + [UInt8](repeating: 66, count: 90_000 + index))
    }
    #expect(try output(of: podInit, specification) == "8 90001 90009\n")
  }

  @Test(
    "a failure is reported with its stage and error",
    arguments: [
      ("nothing", Errno.noSuchFileOrDirectory, PodInit.Stage.exec),
      ("denied", .permissionDenied, .exec),
      ("format", .execFormatError, .exec),
      ("directory", .noSuchFileOrDirectory, .directory),
      ("terminal", .inappropriateIOCTLForDevice, .terminal),
      ("filter", .invalidArgument, .filter),
      ("target", .invalidArgument, .descriptors),
    ])
  func failures(_ what: String, _ error: Errno, _ stage: PodInit.Stage) throws {
    let podInit = try allowingInit()
    var specification = shell("echo no")
    var further: [PodInit.PassedDescriptor] = []
    let garbage = "/tmp/pod-garbage-\(getpid())-\(what)"
    try writeExecutable(garbage)
    defer { unlink(garbage) }
    switch what {
    case "nothing": specification.paths = ["/nowhere/sh", "/etc/passwd/sh"]
    case "denied": specification.paths = ["/etc", "/nowhere/sh"]
    case "format": specification.paths = ["/nowhere/sh", FilePath(garbage)]
    case "directory": specification.workingDirectory = "/nowhere"
    case "terminal": specification.flags = [.newSession, .controllingTerminal]
    case "filter":
      specification.flags = .noNewPrivileges
      specification.filter = [UInt8](repeating: 0xff, count: 8)
    default: further = [.init(.standardInput, as: 2_000_000_000)]
    }
    #expect(try output(of: podInit, specification, id: 77, further: further) == "")
    guard case .failed(let failure)? = try podInit.nextReport(milliseconds: 5_000) else {
      Issue.record("no failure was reported first")
      return
    }
    #expect(failure.id == 77)
    #expect(failure.stage == stage)
    #expect(failure.error == (what == "nothing" ? .notDirectory : error))
    #expect(try output(of: podInit, shell("echo next")) == "next\n")
  }

  private func writeExecutable(_ path: String) throws {
    let file = try FileDescriptor.open(
      FilePath(path), .writeOnly, options: [.create, .truncate],
      permissions: [.ownerReadWriteExecute])
    try file.writeAll([1, 2, 3])
    try file.close()
  }

  @Test("a filter holds for the program")
  func filtered() throws {
    var rules: [UInt32: FilterRules.Rule] = [:]
    for number in 0..<470 as Range<UInt32> {
      rules[number] = .init(.allow)
    }
    rules[63] = .init(.errno(UInt16(EXDEV)))  // uname
    let podInit = try allowingInit()
    var specification = shell("echo before; uname; echo after")
    specification.filter = try FilterRules(rules).program().bytes
    let text = try output(of: podInit, specification)
    #expect(text.hasPrefix("before\n") && text.hasSuffix("after\n"))
    #expect(text.contains(String(cString: strerror(EXDEV))))
  }

  @Test("a hundred launches at once all run, and orphans are reaped")
  func many() throws {
    let podInit = try allowingInit()
    let (reading, writing) = try makePipe()
    let null = try FileDescriptor.open("/dev/null", .readWrite)
    do {
      let end = OwnedDescriptor(owning: writing)
      for id in 0..<100 {
        try podInit.launch(
          shell("(sleep 0.01; echo x) & exit 0"), id: UInt32(id),
          descriptors: [.init(null, as: 0), .init(end.borrowed, as: 1), .init(null, as: 2)])
      }
    }
    var statuses: [Int32] = []
    while statuses.count < 200 {
      guard case .reaped(_, let status)? = try podInit.nextReport(milliseconds: 10_000) else {
        Issue.record("not all were reaped")
        return
      }
      statuses.append(status)
    }
    #expect(statuses.allSatisfy { $0 == 0 })
    #expect(readToEnd(reading).count == 200)
    close(reading)
    try null.close()
    let left = try output(
      of: podInit, shell("cat /proc/\(podInit.processID)/task/*/children | wc -w"))
    // The launcher and the shell itself.
    #expect(left == "2\n")
  }
}
