internal import Foundation
internal import PodCore
internal import Testing

/// What isn't a snapshot is an error with words, whatever it is.
@Suite struct PodSnapshotTests {
  private static let initial =
    #"{"number":1,"kind":"process","state":"live","parent":0,"group":1,"session":1}"#

  private static func process(
    _ number: Int, state: String = "live", parent: Int = 1, group: Int = 1, session: Int = 1
  ) -> String {
    #"{"number":\#(number),"kind":"process","state":"\#(state)","parent":\#(parent),"#
      + #""group":\#(group),"session":\#(session)}"#
  }

  private static func thread(_ number: Int, of process: Int) -> String {
    #"{"number":\#(number),"kind":"thread","process":\#(process)}"#
  }

  private static func text(
    version: String = "1", highest: String = "300", next: String = "5", _ names: [String]
  ) -> String {
    #"{"version":\#(version),"processes":{"highest":\#(highest),"next":\#(next),"names":["#
      + names.joined(separator: ",") + "]}}"
  }

  private func decode(_ text: String) throws -> PodSnapshot {
    try JSONDecoder().decode(PodSnapshot.self, from: Data(text.utf8))
  }

  @Test("a snapshot written by hand is read")
  func valid() throws {
    let snapshot = try decode(
      Self.text([
        Self.initial, Self.process(2), Self.process(3, state: "shown", parent: 99),
        Self.process(4, parent: 2, group: 3), Self.thread(200, of: 4),
        Self.process(5, state: "ended", parent: 4, group: 5, session: 5),
      ]))
    #expect(snapshot.processes.names.map(\.number.rawValue) == [1, 2, 3, 4, 200, 5])
    #expect(snapshot.processes.names.allSatisfy { $0.physical == nil })
  }

  struct Wrong: Sendable, CustomTestStringConvertible {
    let text: String
    let error: SnapshotError
    let testDescription: String
    init(_ error: SnapshotError, _ names: [String], next: String = "5", highest: String = "300") {
      self.init(error, text: PodSnapshotTests.text(highest: highest, next: next, names))
    }
    init(_ error: SnapshotError, text: String) {
      (self.text, self.error, testDescription) = (text, error, error.description)
    }
  }

  private static func name(_ number: Int32) -> VirtualName<ProcessID> {
    VirtualName(rawValue: number)
  }

  static let wrong: [Wrong] = [
    Wrong(.unknownVersion(2), text: text(version: "2", [initial])),
    Wrong(.unknownVersion(-1), text: text(version: "-1", ["nonsense"].map { "\"\($0)\"" })),
    Wrong(.duplicate(name(2)), [initial, process(2), process(2)]),
    Wrong(.duplicate(name(1)), [initial, thread(1, of: 1)]),
    Wrong(.outOfRange(name(0), highest: 300), [initial, process(0)]),
    Wrong(.outOfRange(name(-7), highest: 300), [initial, process(-7)]),
    Wrong(.outOfRange(name(301), highest: 300), [initial, thread(301, of: 1)]),
    Wrong(.noInit, []),
    Wrong(.noInit, [process(2)]),
    Wrong(.noInit, [process(1, state: "ended", parent: 0)]),
    Wrong(.noInit, [process(1, parent: 1)]),
    Wrong(.noInit, [process(2, parent: 2), thread(1, of: 2)]),
    Wrong(.missing(.parent, name(9), of: name(2)), [initial, process(2, parent: 9)]),
    Wrong(.missing(.parent, name(0), of: name(2)), [initial, process(2, parent: 0)]),
    Wrong(
      .missing(.parent, name(3), of: name(2)), [initial, process(2, parent: 3), thread(3, of: 1)]),
    Wrong(
      .missing(.parent, name(3), of: name(2)),
      [initial, process(2, parent: 3), process(3, state: "ended")]),
    Wrong(.missing(.group, name(9), of: name(2)), [initial, process(2, group: 9)]),
    Wrong(
      .missing(.group, name(3), of: name(2)), [initial, process(2, group: 3), thread(3, of: 1)]),
    Wrong(.missing(.session, name(0), of: name(2)), [initial, process(2, session: 0)]),
    Wrong(.missing(.process, name(9), of: name(2)), [initial, thread(2, of: 9)]),
    Wrong(.missing(.process, name(3), of: name(2)), [initial, thread(2, of: 3), thread(3, of: 1)]),
    Wrong(.cycle(name(2)), [initial, process(2, parent: 2)]),
    Wrong(
      .cycle(name(2)),
      [initial, process(2, parent: 4), process(3, parent: 2), process(4, parent: 3)]),
    Wrong(
      .cycle(name(5)),
      [initial, process(5, parent: 2), process(2, parent: 3), process(3, parent: 2)]),
    Wrong(
      .invalid("3 is gone and names no group or session of others"),
      [initial, process(3, state: "shown")]),
    Wrong(.invalid("the next number is 0; it must be 1…300"), [initial], next: "0"),
    Wrong(.invalid("the next number is 301; it must be 1…300"), [initial], next: "301"),
    Wrong(.invalid("the highest number is 0; it must be 1…4194303"), [initial], highest: "0"),
    Wrong(
      .invalid("the highest number is 2147483647; it must be 1…4194303"), [initial],
      highest: "2147483647"),
    Wrong(
      .invalid("thread 2 isn't live: such names aren't kept"),
      [initial, #"{"number":2,"kind":"thread","state":"ended","process":1}"#]),
  ]

  @Test("contradictions are told apart", arguments: wrong)
  func contradictions(wrong: Wrong) {
    #expect(throws: wrong.error) { try decode(wrong.text) }
  }

  @Test(
    "what isn't a snapshot at all is the decoder's error",
    arguments: [
      "", "{}", "[]", "null", #"{"version":"1"}"#, #"{"version":1}"#,
      #"{"version":1,"processes":{"highest":300,"next":1,"names":"none"}}"#,
      text([#"{"number":4294967298,"kind":"process"}"#]),
      text([#"{"number":1.5,"kind":"process"}"#]), text([#"{"number":1,"kind":"socket"}"#]),
      text([#"{"number":1,"kind":"process","state":"lively"}"#]),
      text(version: "99999999999999999999", [initial]), String(text([initial]).dropLast(3)),
    ])
  func malformed(text: String) {
    #expect(throws: DecodingError.self) { try decode(text) }
  }

  @Test("whatever is changed in one, it is an error or a snapshot that pods can be made of")
  func changed() {
    let whole = Array(
      Self.text([
        Self.initial, Self.process(2), Self.process(3, state: "shown", parent: 99),
        Self.process(4, parent: 2, group: 3), Self.thread(200, of: 4),
        Self.process(5, state: "ended", parent: 4, group: 5, session: 5),
      ]).utf8)
    var random = SystemRandomNumberGenerator()
    var (valid, wrong) = (0, 0)
    for _ in 0..<4_000 {
      var bytes = whole
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let index = Int.random(in: bytes.indices, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.remove(at: index)
        default:
          // A number for a number: most of what is left is well-formed.
          guard
            let digit = bytes.indices.shuffled(using: &random).first(where: {
              (48...57).contains(bytes[$0])
            })
          else { break }
          bytes[digit] = UInt8.random(in: 48...57, using: &random)
        }
      }
      guard let snapshot = try? JSONDecoder().decode(PodSnapshot.self, from: Data(bytes)) else {
        wrong += 1
        continue
      }
      valid += 1
      let system = SystemNames<ProcessID>()
      let planned = PodNames(
        pod: PodID(rawValue: 1), system: system, range: 1...300, capacity: 16, restoring: snapshot)
      #expect(planned.processes.space.count <= 16)
      let filled = PodNames(
        pod: PodID(rawValue: 2), system: system, range: 1...9_999, capacity: 9_999)
      let physical = Dictionary(
        uniqueKeysWithValues: snapshot.processes.names.map {
          ($0.number, PhysicalName<ProcessID>(rawValue: $0.number.rawValue + 100_000))
        })
      try? filled.processes.fill(from: snapshot.processes, physical: physical)
    }
    #expect(valid > 100 && wrong > 100, "\(valid) valid, \(wrong) wrong")
  }

  // MARK: Births that take names from one

  private typealias Physical = PhysicalName<ProcessID>

  private func planned() throws -> (ProcessTable, Caller) {
    let snapshot = try decode(
      Self.text(
        next: "50",
        [
          Self.initial, Self.process(9), Self.process(30, parent: 9), Self.process(20, parent: 9),
          Self.thread(200, of: 9), Self.thread(100, of: 9), Self.process(25, parent: 30),
          Self.process(60),
        ]))
    let names = PodNames(
      pod: PodID(rawValue: 1), system: SystemNames(), range: 1...300, capacity: 64,
      restoring: snapshot)
    let processes = names.processes
    try processes.enter(
      Physical(rawValue: 1_001), parent: nil, chosen: ProcessTable.initial, as: .sessionLeader)
    let program = try processes.enter(
      Physical(rawValue: 1_009), parent: ProcessTable.initial, as: .groupLeader)
    #expect(program.rawValue == 9)
    return (
      processes,
      Caller(
        thread: VirtualName(rawValue: 9), process: program,
        physicalThread: PhysicalName(rawValue: 1_009))
    )
  }

  @Test("children and threads take the names in the order of birth, then free ones")
  func births() throws {
    let (processes, caller) = try planned()
    var made: [Int32] = []
    for number in 1_100..<1_104 as Range<Int32> {
      made.append(try processes.announceBirth(by: caller).rawValue)
      try processes.initialize(
        Physical(rawValue: number), by: caller, isThread: false, sharesParent: false)
      processes.endBirth(by: caller)
    }
    // 60 is somebody's to come; the search goes on at 50.
    #expect(made == [30, 20, 50, 51])
    var threads: [Int32] = []
    for number in [1_200, 1_201, 250] as [Int32] {
      try processes.announceThread(by: caller)
      threads.append(
        try processes.initialize(
          Physical(rawValue: number), by: caller, isThread: true, sharesParent: false
        ).rawValue)
      processes.endBirth(by: caller)
    }
    #expect(threads == [200, 100, 250])
  }

  @Test("a fork that failed leaves the name to the next one")
  func failedFork() throws {
    let (processes, caller) = try planned()
    for _ in 0..<3 {
      #expect(try processes.announceBirth(by: caller).rawValue == 30)
      processes.endBirth(by: caller)
    }
    #expect(throws: NameError.nameInUse) {
      try processes.announceBirth(by: caller, chosen: VirtualName(rawValue: 30))
    }
    #expect(try processes.announceBirth(by: caller).rawValue == 30)
  }

  @Test("a newborn that nobody announced, and one that shares its maker's parent, have theirs")
  func otherBirths() throws {
    let (processes, caller) = try planned()
    let lost = try processes.initialize(
      Physical(rawValue: 1_100), by: caller, isThread: false, sharesParent: false)
    #expect(lost.rawValue == 30)
    #expect(try processes.announceBirth(by: caller, sharesParent: true).rawValue == 60)
  }

  @Test("who won't be born needs no name; a new program changes nothing")
  func end() throws {
    let (processes, caller) = try planned()
    processes.execed(leader: Physical(rawValue: 1_009), former: Physical(rawValue: 1_009))
    #expect(try processes.announceBirth(by: caller).rawValue == 30)
    processes.exited(caller.process)
    processes.endBirth(by: caller)
    processes.reaped(caller.process)
    for number in [9, 20, 25, 30, 100, 200] as [Int32] {
      #expect(processes.space.isFree(VirtualName(rawValue: number)), "\(number)")
    }
    #expect(!processes.space.isFree(VirtualName(rawValue: 60)))
    #expect(processes.space.count == 2)
  }

  @Test("a configuration says what doesn't fit")
  func faults() throws {
    var configuration = PodConfiguration()
    configuration.restoredNames = try decode(Self.text([Self.initial, Self.thread(299, of: 1)]))
    #expect(configuration.faults.isEmpty)
    configuration.highestProcess = 300
    configuration.capacity = 16
    #expect(configuration.faults.isEmpty)
    configuration.restoredNames = try PodSnapshot(
      processes: .init(
        highest: 5_000, next: 7,
        names: [
          .init(
            process: Self.name(1), parent: Self.name(0), group: Self.name(1), session: Self.name(1))
        ] + (4_000..<4_016).map { .init(thread: Self.name($0), of: Self.name(1)) }))
    #expect(configuration.faults.count == 2)
    let text = try JSONEncoder().encode(configuration)
    #expect(try JSONDecoder().decode(PodConfiguration.self, from: text) == configuration)
  }
}
