import PodCore
import SystemPackage
import Testing

@Suite struct RunTests {
  struct BodyError: Error {}

  private func withFake<R: Sendable>(
    _ program: @escaping @Sendable (FakeProgram) async -> Int32,
    _ body: (Pod, FakeBackend) async throws -> R
  ) async throws -> R {
    var backend = FakeBackend()
    backend.program = program
    return try await withPod(backend: backend) { [backend] pod in try await body(pod, backend) }
  }

  // MARK: Collected

  @Test("output and status come back, shaped by what was asked for")
  func collected() async throws {
    try await withFake { program in
      let input = await program.readAll()
      _ = await program.write(input)
      _ = await program.writeError("oops")
      return 3
    } _: { pod, _ in
      let result = try await pod.run(
        .path("/bin/cat"), arguments: ["-"], input: .string("hello"), output: .string(limit: 64),
        error: .bytes(limit: 64))
      #expect(result.processIdentifier == VirtualName(rawValue: 2))
      #expect(result.terminationStatus == .exited(3))
      #expect(result.standardOutput == "hello")
      #expect(result.standardError == Array("oops".utf8))

      let combined = try await pod.run(
        .name("cat"), environment: .inherit.updating(["K": "V"]), workingDirectory: "/tmp",
        input: .array([1]), output: .bytes(limit: 1), error: .combinedWithOutput)
      #expect(combined.standardOutput == [1])
      let nothing: Void = combined.standardError
      #expect(nothing == ())
    }
  }

  @Test("more output than the limit ends the program and is an error; as much as the limit isn't")
  func limit() async throws {
    try await withFake { program in
      for _ in 0..<3 {
        if !(await program.write("12345")) { return await program.waitForSignal() }
      }
      return 0
    } _: { pod, backend in
      let whole = try await pod.run(.path("/x"), output: .string(limit: 15))
      #expect(whole.standardOutput.count == 15)
      let error = await #expect(throws: PodError.self) {
        try await pod.run(.path("/x"), output: .string(limit: 14))
      }
      #expect(error?.code == .outputLimitExceeded)
      #expect(backend.record.now.signals == [9])
    }
  }

  @Test("output that isn't text is an error where text was asked for")
  func notText() async throws {
    try await withFake { program in
      _ = await program.write([0xFF, 0x00])
      return 0
    } _: { pod, _ in
      let error = await #expect(throws: PodError.self) {
        try await pod.run(.path("/x"), output: .string(limit: 8))
      }
      #expect(error?.code == .outputNotText)
      let wide = try await pod.run(.path("/x"), output: .string(limit: 8, encoding: UTF16.self))
      #expect(wide.standardOutput == "\u{FF}")
      let bytes = try await pod.run(.path("/x"), output: .bytes(limit: 8))
      #expect(bytes.standardOutput == [0xFF, 0])
    }
  }

  @Test("a program that can't be started is an error")
  func launchFails() async throws {
    try await withFake { _ in
      0
    } _: { pod, _ in
      let error = await #expect(throws: PodError.self) {
        try await pod.run(
          .name("missing"), input: .inputWriter, output: .sequence, error: .sequence
        ) { _ in Issue.record("ran") }
      }
      #expect(error?.code == .executableNotFound)
    }
  }

  // MARK: With a closure

  @Test("a closure writes, reads lines, and sends signals")
  func conversation() async throws {
    try await withFake { program in
      _ = await program.write("ready\nsecond")
      let input = await program.readAll()
      _ = await program.write(" line\r\n")
      _ = await program.write(input)
      let first = await program.waitForSignal()
      // Who has ended gets no second one.
      _ = await program.waitForSignal()
      return first
    } _: { pod, backend in
      let result = try await pod.run(
        .path("/x"), input: .inputWriter, output: .sequence, error: .discarded
      ) { execution in
        try await execution.standardInputWriter.write("in")
        try await execution.standardInputWriter.write([0x70, 0x75, 0x74])
        try await execution.standardInputWriter.finish()
        var lines = execution.standardOutput.lines.makeAsyncIterator()
        let first = [try await lines.next(), try await lines.next()]
        try await execution.send(signal: .interrupt, toProcessGroup: true)
        try await execution.send(signal: .hangup)
        return first + [try await lines.next(), try await lines.next()]
      }
      #expect(result.closureResult == ["ready", "second line", "input", nil])
      #expect(result.terminationStatus == .exited(2))
      #expect(backend.record.now.signals == [-2, 1])
    }
  }

  @Test("what the closure doesn't read, the program can't write on")
  func unread() async throws {
    try await withFake { program in
      var count: Int32 = 0
      while await program.write("x") { count += 1 }
      return count
    } _: { pod, _ in
      let result = try await pod.run(
        .path("/x"), input: .none, output: .sequence, error: .discarded
      ) { execution in
        for try await buffer in execution.standardOutput { return buffer.count }
        return 0
      }
      #expect(result.closureResult == 1)
      guard case .exited(let count) = result.terminationStatus else {
        Issue.record("killed")
        return
      }
      #expect((1...2).contains(count))
    }
  }

  @Test("a closure that throws ends the program step by step")
  func bodyThrows() async throws {
    try await withFake { program in
      _ = await program.waitForSignal()
      return await program.waitForSignal()
    } _: { pod, backend in
      var options = Pod.PlatformOptions()
      options.teardownSequence = [
        .gracefulShutDown(allowedDurationToNextStep: .milliseconds(1)),
        .send(signal: .hangup, toProcessGroup: true, allowedDurationToNextStep: .seconds(60)),
      ]
      await #expect(throws: BodyError.self) {
        try await pod.run(
          .path("/x"), platformOptions: options, input: .none, output: .discarded,
          error: .discarded
        ) { _ in throw BodyError() }
      }
      #expect(backend.record.now.signals == [15, -1])
    }
  }

  @Test("cancelling the task ends the program, also when the closure waits for its output")
  func cancelled() async throws {
    let started = Promise<Void>()
    try await withFake { program in
      started.fulfil(())
      return await program.waitForSignal()
    } _: { pod, backend in
      let task = Task {
        try await pod.run(
          .path("/x"), input: .inputWriter, output: .sequence, error: .discarded
        ) { execution in
          for try await _ in execution.standardOutput {}
        }
      }
      await started.value
      task.cancel()
      await #expect(throws: CancellationError.self) { try await task.value }
      #expect(backend.record.now.signals == [9])
      #expect(await pod.processes().isEmpty)
    }
  }

  @Test("writing to a program that has ended fails, and doesn't wait for ever")
  func writeAfterEnd() async throws {
    try await withFake { _ in
      0
    } _: { pod, _ in
      let result = try await pod.run(
        .path("/x"), input: .inputWriter, output: .discarded, error: .discarded
      ) { execution in
        await #expect(throws: PodError.self) {
          while true { try await execution.standardInputWriter.write("x") }
        } == nil
      }
      #expect(result.closureResult == false)
    }
  }

  @Test("an input of the embedder's own runs beside the program")
  func ownInput() async throws {
    struct Numbers: Pod.InputProtocol {
      func write(with writer: Pod.StandardInputWriter) async throws {
        for number in 0..<5 { try await writer.write("\(number)") }
        throw BodyError()
      }
    }
    try await withFake { program in
      Int32(await program.readAll().count)
    } _: { pod, _ in
      _ = await #expect(throws: BodyError.self) {
        try await pod.run(.path("/x"), input: Numbers(), output: .discarded)
      }
    }
    struct Endless: Pod.InputProtocol {
      func write(with writer: Pod.StandardInputWriter) async throws {
        try await Task.sleep(for: .seconds(600))
      }
    }
    try await withFake { _ in
      4
    } _: { pod, _ in
      let result = try await pod.run(.path("/x"), input: Endless(), output: .discarded)
      #expect(result.terminationStatus == .exited(4))
    }
  }

  @Test("a terminal is all three streams and the controlling one")
  func terminal() async throws {
    try await withFake { _ in
      0
    } _: { pod, backend in
      _ = try await pod.run(.path("/x"), terminal: .standardInput) { _ in }
      let request = try #require(backend.record.now.requests.first)
      #expect(request.controllingTerminal)
      guard case .descriptor(.standardInput, false) = request.error else {
        Issue.record("not the terminal")
        return
      }
    }
  }

  // MARK: Lines

  @Test(
    "output is cut into lines, whatever pieces it comes in",
    arguments: [
      ("a\nb\n", ["a", "b"]), ("a\n\nb", ["a", "", "b"]), ("", []), ("\r\n", [""]),
      ("a\r\nb\rc\u{85}d\u{2028}e\u{2029}f\u{B}g", ["a", "b", "c", "d", "e", "f", "g"]),
      ("é\nü", ["é", "ü"]),
    ])
  func lines(text: String, lines: [String]) async throws {
    try await withFake { program in
      for byte in text.utf8 { _ = await program.write([byte]) }
      return 0
    } _: { pod, _ in
      let result = try await pod.run(
        .path("/x"), input: .none, output: .sequence, error: .discarded
      ) { execution in
        var all: [String] = []
        for try await line in execution.standardOutput.strings() { all.append(line) }
        return all
      }
      #expect(result.closureResult == lines)
    }
  }

  @Test("lines end at a separator of the embedder's, and not beyond the limit")
  func separators() async throws {
    try await withFake { program in
      _ = await program.write("a--b-c--")
      _ = await program.write("d\ne")
      return 0
    } _: { pod, _ in
      let result = try await pod.run(
        .path("/x"), input: .none, output: .sequence, error: .discarded
      ) { execution in
        var all: [String] = []
        let pieces = execution.standardOutput.strings(
          separatedBy: .unicodeScalarSequence("--".unicodeScalars))
        for try await piece in pieces { all.append(piece) }
        return all
      }
      #expect(result.closureResult == ["a", "b-c", "d\ne"])
      let error = await #expect(throws: PodError.self) {
        try await pod.run(
          .path("/x"), input: .none, output: .sequence, error: .discarded
        ) { execution in
          let lines = execution.standardOutput.strings(bufferingPolicy: .maxLineLength(4))
          for try await _ in lines {}
        }
      }
      #expect(error?.code == .outputLimitExceeded)
    }
  }
}
