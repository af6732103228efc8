import PodCore
import Testing

@Suite struct EventTests {
  private func text(_ event: PodEvent) -> String {
    if case .degraded(let text) = event { text } else { "?" }
  }

  private func all(_ events: PodEvents) async -> [String] {
    var texts: [String] = []
    for await event in events { texts.append(text(event)) }
    return texts
  }

  private func report(_ backend: FakeBackend, _ texts: some Sequence<String>) {
    for text in texts { backend.record.now.report?(.degraded(text)) }
  }

  @Test("each subscriber gets each event, in order, until the pod ends")
  func fanOut() async throws {
    let backend = FakeBackend()
    let (first, second) = try await withPod(backend: backend) { pod in
      let (first, second) = (pod.events, pod.events)
      report(backend, ["a", "b", "c"])
      return (first, second)
    }
    #expect(await all(first) == ["a", "b", "c"])
    #expect(await all(second) == ["a", "b", "c"])
    #expect(first.dropped == 0)
  }

  @Test("a slow subscriber loses the oldest events, knows how many, and delays nobody")
  func slow() async throws {
    let backend = FakeBackend()
    let (slow, other) = try await withPod(backend: backend) { pod in
      let (slow, other) = (pod.events(bufferingNewest: 3), pod.events)
      report(backend, (0..<100).map(String.init))
      return (slow, other)
    }
    #expect(slow.dropped == 97)
    #expect(await all(slow) == ["97", "98", "99"])
    #expect(await all(other).count == 100)
    #expect(other.dropped == 0)
  }

  @Test("a subscriber gets the events that it wants, and no others take room")
  func wanted() async throws {
    var backend = FakeBackend()
    backend.earlyEvents = [.degraded("early"), .failed("early")]
    let events = try await withPod(backend: backend) { [backend] pod in
      let events = pod.events(bufferingNewest: 3) { event in
        if case .degraded = event { true } else { false }
      }
      report(backend, ["a"])
      for _ in 0..<10 { backend.record.now.report?(.failed("?")) }
      report(backend, ["b"])
      return events
    }
    #expect(await all(events) == ["early", "a", "b"])
    #expect(events.dropped == 0)
  }

  @Test("a subscriber gets what was reported while the pod started")
  func early() async throws {
    var backend = FakeBackend()
    backend.earlyEvents = [.degraded("early")]
    let events = try await withPod(backend: backend) { [backend] pod in
      report(backend, ["before"])
      let events = pod.events
      report(backend, ["after"])
      return events
    }
    #expect(await all(events) == ["early", "after"])
  }

  @Test("a waiting reader gets the next event, and ends when it is cancelled or the pod ends")
  func waiting() async throws {
    let backend = FakeBackend()
    try await withPod(backend: backend) { pod in
      let events = pod.events
      let reader = Task {
        var texts: [String] = []
        for await event in events {
          texts.append(text(event))
          if texts.count == 2 { break }
        }
        return texts
      }
      report(backend, ["a"])
      await Task.yield()
      report(backend, ["b"])
      #expect(await reader.value == ["a", "b"])

      let cancelled = Task { await all(events) }
      cancelled.cancel()
      #expect(await cancelled.value == [])
    }
    let afterwards = try await withPod(backend: backend) { $0 }
    #expect(await all(afterwards.events) == [])
  }

  @Test("nobody has to listen")
  func nobody() async throws {
    let backend = FakeBackend()
    try await withPod(backend: backend) { pod in
      _ = pod.events
      report(backend, (0..<10_000).map(String.init))
    }
  }
}
