import CLinux
import Glibc
import PodTestSupport
import SystemPackage
import Testing

@testable import PodLinux

@Suite("What the kernel says of a process")
struct ProcessStatusTests {
  /// Starts a program that writes a line when it is ready and then waits, and kills it at the end.
  private func with(_ command: [String], _ body: (Int32) throws -> Void) throws {
    let pipe = try makePipe()
    let reading = OwnedDescriptor(owning: pipe.0)
    let writing = OwnedDescriptor(owning: pipe.1)
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, writing.rawValue, 1)
    var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
    arguments.append(nil)
    defer { for text in arguments { free(text) } }
    var process: Int32 = 0
    try #require(posix_spawnp(&process, command[0], &actions, nil, arguments, environ) == 0)
    defer {
      kill(process, SIGKILL)
      var status: Int32 = 0
      _ = CLinux_wait4(process, &status, Int32(CLinux_WAIT_ALL), nil)
    }
    var byte: UInt8 = 0
    try #require(read(reading.rawValue, &byte, 1) == 1)
    try body(process)
  }

  @Test("who or what could come between a process's instructions")
  func disturbances() throws {
    let own = try #require(ProcessStatus.Disturbances(of: getpid()))
    try with(["yes"]) { process in
      let status = try #require(ProcessStatus.Disturbances(of: process))
      #expect(status.threads == 1 && status.tracer == 0 && status.caughtSignals == 0)
      #expect(status.filters == own.filters)
      try onOwnThread {
        #expect(CLinux_ptrace_seize(process, 0) == 0)
        let traced = ProcessStatus.Disturbances(of: process)
        #expect(traced?.tracer == Int(CLinux_gettid()))
      }
    }
    try with(["sh", "-c", "trap : USR1; echo; kill -STOP $$; exit"]) { process in
      let status = try #require(ProcessStatus.Disturbances(of: process))
      #expect(status.caughtSignals & 1 << UInt64(SIGUSR1 - 1) != 0)
    }
    #expect(ProcessStatus.Disturbances(of: .max) == nil)
  }
}
