import Glibc
import PodCore
import PodLinux
import Synchronization
import SystemPackage
import Testing

/// The program's part is played with the descriptors that it would get.
@Suite struct StandardStreamsTests {
  /// Collects what a sink gets.
  final class Collector: Sendable {
    struct Content {
      var bytes: [UInt8] = []
      var ends = 0
      var calls = 0
    }
    private let content = Mutex(Content())
    var now: Content { content.withLock { $0 } }

    func take(_ bytes: [UInt8]?) {
      content.withLock { content in
        content.calls += 1
        if let bytes { content.bytes += bytes } else { content.ends += 1 }
      }
    }

    var target: LaunchRequest.OutputTarget {
      .sink {
        self.take($0)
        return true
      }
    }
  }

  private func request(
    input: LaunchRequest.InputSource = .none, output: LaunchRequest.OutputTarget = .discard,
    error: LaunchRequest.OutputTarget = .discard
  ) -> LaunchRequest {
    LaunchRequest(
      candidates: ["/x"], name: "x", arguments: [], environment: [], workingDirectory: nil,
      input: input, output: output, error: error)
  }

  private func write(_ text: String, to descriptor: FileDescriptor) throws {
    _ = try descriptor.writeAll(text.utf8)
  }

  @Test("output and error are delivered apart, and end when the program has closed them")
  func apart() async throws {
    let service = StreamService()
    let (output, error) = (Collector(), Collector())
    let streams = try StandardStreams.open(
      request(output: output.target, error: error.target), service)
    try write("out", to: streams.output)
    try write("err", to: streams.error)
    streams.closeChildEnds()
    await streams.finish()
    #expect(output.now.bytes == Array("out".utf8))
    #expect(error.now.bytes == Array("err".utf8))
    #expect(output.now.ends == 1)
    service.close()
  }

  @Test("one stream for output and error keeps the order of the writes")
  func combined() async throws {
    let service = StreamService()
    let output = Collector()
    let streams = try StandardStreams.open(
      request(output: output.target, error: .sameAsOutput), service)
    for text in ["a", "b", "c"] {
      try write(text, to: streams.output)
      try write(text.uppercased(), to: streams.error)
    }
    await streams.finish()
    #expect(output.now.bytes == Array("aAbBcC".utf8))
  }

  @Test("a process that was left behind with the pipe doesn't keep a run from ending")
  func leftBehind() async throws {
    let service = StreamService()
    let output = Collector()
    let streams = try StandardStreams.open(request(output: output.target), service)
    let daemon = try streams.output.duplicate()
    defer { try? daemon.close() }
    try write("before", to: daemon)
    streams.closeChildEnds()
    await streams.finish()
    #expect(output.now.bytes == Array("before".utf8))
    #expect(output.now.ends == 1)
  }

  @Test("a process that writes without end doesn't keep a run from ending")
  func endless() async throws {
    let service = StreamService()
    let (begun, gate) = (Promise<Void>(), Promise<Void>())
    let daemon = Promise<Int32>()
    let collector = Collector()
    let block = [UInt8](repeating: 1, count: 4096)
    let streams = try StandardStreams.open(
      request(
        output: .sink { bytes in
          begun.fulfil(())
          await gate.value
          collector.take(bytes)
          // Whenever something is taken, more is written.
          let number = await daemon.value
          while bytes != nil,
            block.withUnsafeBytes({ Glibc.write(number, $0.baseAddress, 4096) }) > 0
          {}
          return true
        }), service)
    let copy = try streams.output.duplicate()
    _ = fcntl(copy.rawValue, F_SETFL, O_NONBLOCK)
    daemon.fulfil(copy.rawValue)
    _ = try copy.writeAll(block)
    await begun.value
    _ = try copy.writeAll(block)
    let finish = Task { await streams.finish() }
    try await Task.sleep(for: .milliseconds(20))
    gate.fulfil(())
    await finish.value
    #expect(collector.now.ends == 1)
    #expect(collector.now.bytes.count == 2 * block.count)
    try copy.close()
  }

  @Test("a sink that is behind stops the reading")
  func backPressure() async throws {
    let service = StreamService()
    let gate = Promise<Void>()
    let collector = Collector()
    let streams = try StandardStreams.open(
      request(
        output: .sink {
          await gate.value
          collector.take($0)
          return true
        }), service)
    let copy = try streams.output.duplicate()
    _ = fcntl(copy.rawValue, F_SETFL, O_NONBLOCK)
    let block = [UInt8](repeating: 1, count: 4096)
    var written = 0
    var idle = 0
    while idle < 20 {
      let size = block.withUnsafeBytes { Glibc.write(copy.rawValue, $0.baseAddress, $0.count) }
      if size > 0 {
        written += size
        idle = 0
      } else {
        idle += 1
        try await Task.sleep(for: .milliseconds(5))
      }
    }
    #expect(written <= 2 * 65_536)
    gate.fulfil(())
    try copy.close()
    await streams.finish()
    #expect(collector.now.bytes.count == written)
  }

  @Test("a sink that wants no more closes the pipe")
  func unwanted() async throws {
    let service = StreamService()
    signal(SIGPIPE, SIG_IGN)
    let streams = try StandardStreams.open(request(output: .sink { _ in false }), service)
    try write("x", to: streams.output)
    var result: (any Error)?
    while result == nil {
      do { try write("y", to: streams.output) } catch { result = error }
      await Task.yield()
    }
    #expect(result as? Errno == .brokenPipe)
    await streams.finish()
  }

  @Test("input is written however long it is, then ends")
  func input() async throws {
    let service = StreamService()
    let bytes = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 / 3) }
    let streams = try StandardStreams.open(request(input: .bytes(bytes)), service)
    let copy = try streams.input.duplicate()
    streams.closeChildEnds()
    let read = await Task.detached { () -> [UInt8] in
      var all: [UInt8] = []
      while true {
        let piece = [UInt8](unsafeUninitializedCapacity: 10_000) { buffer, count in
          count = max(Glibc.read(copy.rawValue, buffer.baseAddress, 10_000), 0)
        }
        if piece.isEmpty { return all }
        all += piece
      }
    }.value
    #expect(read == bytes)
    try copy.close()
    await streams.finish()
  }

  @Test("a source is told when nobody reads any more, and raises no SIGPIPE")
  func inputClosed() async throws {
    await #expect(processExitsWith: .success) {
      signal(SIGPIPE, SIG_DFL)
      let service = StreamService()
      let closed = Promise<Void>()
      let request = LaunchRequest(
        candidates: ["/x"], name: "x", arguments: [], environment: [], workingDirectory: nil,
        input: .stream({ [1] }, closed: { closed.fulfil(()) }), output: .discard, error: .discard)
      let streams = try StandardStreams.open(request, service)
      streams.closeChildEnds()
      await closed.value
      await streams.finish()
      service.close()
    }
  }

  @Test("a source that never answers is told when the program has ended")
  func silentSource() async throws {
    let service = StreamService()
    let closed = Promise<Void>()
    let streams = try StandardStreams.open(
      request(
        input: .stream(
          {
            await closed.value
            return nil
          }, closed: { closed.fulfil(()) })), service)
    await streams.finish()
    #expect(closed.isFulfilled)
  }

  @Test("descriptors of the host go along, and are closed when that was asked for")
  func descriptors() async throws {
    let service = StreamService()
    let (readEnd, writeEnd) = try FileDescriptor.pipe()
    let streams = try StandardStreams.open(
      request(
        input: .descriptor(readEnd), output: .descriptor(writeEnd, closeAfterLaunch: true),
        error: .descriptor(writeEnd, closeAfterLaunch: true)), service)
    #expect(streams.input == readEnd)
    #expect(streams.output == writeEnd)
    streams.closeChildEnds()
    streams.closeChildEnds()
    await streams.finish()
    var byte: UInt8 = 0
    #expect(Glibc.read(readEnd.rawValue, &byte, 1) == 0)
    try readEnd.close()
  }

  @Test("closing the service ends what waits for a pipe")
  func closing() async throws {
    let service = StreamService()
    let output = Collector()
    let streams = try StandardStreams.open(
      request(
        input: .bytes(.init(repeating: 0, count: 1 << 20)), output: output.target), service)
    let copy = try streams.output.duplicate()
    service.close()
    while output.now.ends == 0 { await Task.yield() }
    await streams.finish()
    try copy.close()
    service.close()
    #expect(output.now.ends == 1)
  }

  @Test("nothing is left: no descriptor, no thread")
  func leaks() async throws {
    await #expect(processExitsWith: .success) {
      func entries(_ directory: String) -> Int {
        guard let stream = opendir(directory) else { return -1 }
        defer { closedir(stream) }
        var count = 0
        while readdir(stream) != nil { count += 1 }
        return count
      }
      func threads() -> Int {
        // Swift's pool grows and shrinks; only ours counts.
        guard let stream = opendir("/proc/self/task") else { return -1 }
        defer { closedir(stream) }
        var count = 0
        while let entry = readdir(stream) {
          let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
          }
          guard let file = try? FileDescriptor.open("/proc/self/task/\(name)/comm", .readOnly)
          else {
            continue
          }
          var text = [UInt8](repeating: 0, count: 32)
          let size = text.withUnsafeMutableBytes { (try? file.read(into: $0)) ?? 0 }
          try? file.close()
          if String(decoding: text[..<size], as: UTF8.self).hasPrefix("pod streams") { count += 1 }
        }
        return count
      }
      func use(_ service: StreamService) async throws {
        let request = LaunchRequest(
          candidates: ["/x"], name: "x", arguments: [], environment: [], workingDirectory: nil,
          input: .bytes([1]), output: .sink { _ in true }, error: .sink { _ in true })
        let finished = try StandardStreams.open(request, service)
        await finished.finish()
        // Dropped without a word, as when a launch fails halfway.
        _ = try StandardStreams.open(request, service)
      }
      try await use(StreamService())
      try await Task.sleep(for: .milliseconds(50))
      let before = entries("/proc/self/fd")
      do {
        let service = StreamService()
        try await use(service)
        precondition(threads() == 1, "the counter doesn't see the thread")
        precondition(entries("/proc/self/fd") > before, "the counter doesn't see a descriptor")
        for _ in 0..<20 { try await use(service) }
        service.close()
      }
      precondition(threads() == 0)
      var left = entries("/proc/self/fd")
      for _ in 0..<100 where left != before {
        try await Task.sleep(for: .milliseconds(10))
        left = entries("/proc/self/fd")
      }
      precondition(left == before, "\(left) descriptors instead of \(before)")
    }
  }
}
