internal import SystemPackage

/// System V message queues.
///
/// Source: msgop(2), msgctl(2); ipc/msg.c.
public enum MessageQueue {
  private static let process = NameShape(ProcessID.self)

  /// The rows of message queues that are the kernel's, in a namespace of the pod's: who sent and received last.
  ///
  /// Source: include/uapi/asm-generic/msgbuf.h, `struct msqid64_ds`.
  public static let kernelObjects: [BoundaryRow] = [
    (IPCLimits.status, "IPC_STAT"), (ControlMessageQueue.statusByIndex, "MSG_STAT"),
    (ControlMessageQueue.anyStatusByIndex, "MSG_STAT_ANY"),
  ].map { command, label in
    .translated(
      .msgctl, when: .argument(1, is: UInt32(command), label),
      out: [.field(96, of: 2, process), .field(100, of: 2, process)], performed: .inCaller,
      reaching: .caller)  // I6, I8
  }

  /// The rows of message queues that are the host program's.
  public static let boundary: [BoundaryRow] = [
    .wrapped(.msgget, by: GetMessageQueue(), performed: .emulated),  // I1, I2
    .wrapped(.msgsnd, by: SendMessage(), performed: .emulatedBlocking),  // I5
    .wrapped(.msgrcv, by: ReceiveMessage(), performed: .emulatedBlocking),  // I5
    .wrapped(.msgctl, by: ControlMessageQueue(), performed: .emulated),  // I6–I10
  ]
}

/// What a pod may have of messages besides ``SystemVLimits``: a bound on all of them together, which the kernel counts as memory
/// of their senders.
///
/// Source: include/uapi/linux/msg.h.
enum MessageLimits {
  /// The bytes of all messages of the pod, with what each one takes besides: `ENOMEM` beyond.
  static let bytes = 256 << 20
  /// What a message takes besides its text.
  static let overhead = 96

  /// `MSG_NOERROR`.
  static let cuts: Int32 = 0o10000
  /// `MSG_EXCEPT`.
  static let except: Int32 = 0o20000
  /// `MSG_COPY`.
  static let copies: Int32 = 0o40000
}

/// A message.
struct Message {
  let type: Int64
  let text: [UInt8]
  var charge: Int { text.count + MessageLimits.overhead }
}

/// Which messages a receiver wants, and how many bytes it has for one.
///
/// Source: ipc/msg.c, `convert_mode`, `testmsg`.
struct MessageSelector {
  enum Choice: Equatable {
    case any
    case equal(Int64)
    case different(Int64)
    /// The lowest type that is at most this.
    case atMost(Int64)
  }
  let choice: Choice
  let room: Int
  let cuts: Bool

  init(type: Int64, flags: Int32, room: Int) {
    choice =
      if type == 0 {
        .any
      } else if type < 0 {
        .atMost(type == .min ? .max : -type)
      } else if flags & MessageLimits.except != 0 {
        .different(type)
      } else {
        .equal(type)
      }
    self.room = room
    cuts = flags & MessageLimits.cuts != 0
  }

  func wants(_ message: Message) -> Bool {
    switch choice {
    case .any: true
    case .equal(let type): message.type == type
    case .different(let type): message.type != type
    case .atMost(let type): message.type <= type
    }
  }

  func hasRoom(for message: Message) -> Bool { cuts || message.text.count <= room }
}

/// A message queue.
final class MessageQueueObject: IPCObject {
  var permissions: IPCPermissions
  /// The messages, the oldest first, from ``first`` on.
  private var messages: [Message?] = []
  private var first = 0
  private(set) var bytes: UInt64 = 0
  private(set) var count: UInt64 = 0
  var capacity: UInt64
  var lastSender: Int32 = 0
  var lastReceiver: Int32 = 0
  var sendTime: Int64 = 0
  var receiveTime: Int64 = 0
  var changeTime = WallClock.now
  var receivers: [IPCWait] = []
  var senders: [IPCWait] = []

  init(_ permissions: IPCPermissions, capacity: UInt64) {
    (self.permissions, self.capacity) = (permissions, capacity)
  }

  /// Source: ipc/msg.c, `msg_fits_inqueue`.
  func hasRoom(for message: Message) -> Bool {
    UInt64(message.text.count) + bytes <= capacity && count + 1 <= capacity
  }

  func append(_ message: Message) {
    messages.append(message)
    bytes += UInt64(message.text.count)
    count += 1
  }

  /// The place of the message that a receiver gets; nil when there is none.
  func find(_ selector: MessageSelector) -> Int? {
    guard case .atMost = selector.choice else {
      return (first..<messages.count).first { messages[$0].map(selector.wants) ?? false }
    }
    var found: (place: Int, type: Int64)?
    for place in first..<messages.count {
      guard let message = messages[place], selector.wants(message) else { continue }
      if message.type == 1 { return place }
      if found.map({ message.type < $0.type }) ?? true { found = (place, message.type) }
    }
    return found?.place
  }

  /// The message at a number, from 0, whatever its type (`MSG_COPY`).
  func message(number: Int64) -> Message? {
    guard number >= 0, number < Int64(clamping: count) else { return nil }
    var left = number
    for case let message? in messages[first...] {
      if left == 0 { return message }
      left -= 1
    }
    return nil
  }

  func message(at place: Int) -> Message? { messages[place] }

  func remove(at place: Int) {
    guard let message = messages[place] else { return }
    messages[place] = nil
    bytes -= UInt64(message.text.count)
    count -= 1
    while first < messages.count, messages[first] == nil { first += 1 }
    // What is in front, or was taken out of the middle, is given back when it is half of all.
    if messages.count > 2 * Int(count) + 16 {
      messages = messages[first...].filter { $0 != nil }
      first = 0
    } else if first == messages.count {
      messages.removeAll(keepingCapacity: true)
      first = 0
    }
  }

  /// Those that it still had, for who counts them.
  func removeAll() -> [Message] {
    defer { (messages, first, bytes, count) = ([], 0, 0, 0) }
    return messages.compactMap(\.self)
  }
}

// MARK: Operations

extension SystemVObjects.State {
  /// Source: ipc/msg.c, `do_msgsnd`.
  ///
  /// - Returns: The queue, when there is no room; nil when the message is sent.
  mutating func send(
    _ message: Message, to id: Int32, from caller: Caller, _ credentials: CallerCredentials
  ) throws(Errno) -> MessageQueueObject? {
    let queue = try queues.object(id)
    try queue.permissions.check(0o222, by: credentials)
    guard queue.hasRoom(for: message) else { return queue }
    // Who waits to send is charged already.
    guard messageBytes + message.charge <= MessageLimits.bytes else { throw .noMemory }
    deliver(message, to: queue, from: caller)
    return nil
  }

  private mutating func deliver(
    _ message: Message, to queue: MessageQueueObject, from caller: Caller
  ) {
    queue.lastSender = caller.process.rawValue
    queue.sendTime = WallClock.now
    for wait in queue.receivers {
      guard case .receive(let selector) = wait.wish, selector.wants(message) else { continue }
      guard selector.hasRoom(for: message) else {
        if wait.give(.failed(.argListTooLong)) { queue.receivers.removeAll { $0 === wait } }
        continue
      }
      guard wait.give(.received(message)) else { continue }
      queue.receivers.removeAll { $0 === wait }
      queue.lastReceiver = wait.caller.process.rawValue
      queue.receiveTime = WallClock.now
      return
    }
    queue.append(message)
    messageBytes += message.charge
    messages += 1
  }

  /// Source: ipc/msg.c, `do_msgrcv`.
  ///
  /// - Returns: A message, or the queue when there is none.
  mutating func receive(
    _ selector: MessageSelector, from id: Int32, by caller: Caller,
    _ credentials: CallerCredentials
  ) throws(Errno) -> (message: Message?, queue: MessageQueueObject) {
    let queue = try queues.object(id)
    try queue.permissions.check(0o444, by: credentials)
    guard let place = queue.find(selector), let message = queue.message(at: place) else {
      return (nil, queue)
    }
    guard selector.hasRoom(for: message) else { throw .argListTooLong }
    queue.remove(at: place)
    messageBytes -= message.charge
    messages -= 1
    queue.lastReceiver = caller.process.rawValue
    queue.receiveTime = WallClock.now
    admitSenders(to: queue)
    return (message, queue)
  }

  /// There is more room in a queue: who waited first sends first.
  private mutating func admitSenders(to queue: MessageQueueObject) {
    for wait in queue.senders {
      guard case .send(let message) = wait.wish, queue.hasRoom(for: message) else { continue }
      guard wait.give(.done) else { continue }
      queue.senders.removeAll { $0 === wait }
      messageBytes -= message.charge
      deliver(message, to: queue, from: wait.caller)
    }
  }

  mutating func remove(_ queue: MessageQueueObject) {
    queues.remove(queue)
    for wait in queue.receivers { wait.fail(.identifierRemoved) }
    for wait in queue.senders {
      if case .send(let message) = wait.wish { messageBytes -= message.charge }
      wait.fail(.identifierRemoved)
    }
    for message in queue.removeAll() {
      messageBytes -= message.charge
      messages -= 1
    }
    (queue.receivers, queue.senders) = ([], [])
  }

  /// `IPC_SET`. Source: ipc/msg.c, `msgctl_down`.
  mutating func set(
    _ queue: MessageQueueObject, user: UInt32, group: UInt32, mode: UInt32, capacity: UInt64,
    _ credentials: CallerCredentials, _ limits: SystemVLimits
  ) throws(Errno) {
    try queue.permissions.checkOwner(credentials)
    if capacity > limits.queue,
      !credentials.capabilities.contains(CallerCredentials.resources)
    {
      throw .notPermitted
    }
    try queue.permissions.update(user: user, group: group, mode: mode)
    queue.capacity = capacity
    queue.changeTime = WallClock.now
    // Who waits may no longer do so: they look again.
    for wait in queue.receivers + queue.senders { _ = wait.sleep.sleeper.wake() }
  }
}

// MARK: Calls

/// Finds or makes a queue.
///
/// Source: msgget(2).
struct GetMessageQueue: Wrapper {
  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let (key, flags) = (transaction.arguments.int(0), transaction.arguments.int(1))
    let credentials = try transaction.host.credentials(of: transaction.caller)
    let limits = transaction.host.segmentHost.limits
    let id = try transaction.changeObjects(.allocate, on: key) { state throws(Errno) in
      state.queues.limit = limits.queues
      return try state.queues.get(key: key, flags: flags, by: credentials) { permissions in
        MessageQueueObject(permissions, capacity: limits.queue)
      }.permissions.id
    }
    transaction.result = .success(Int(id))
  }
}

/// Sends a message, or waits for room.
///
/// Source: msgsnd(2).
struct SendMessage: Wrapper {
  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let (id, flags) = (transaction.arguments.int(0), transaction.arguments.int(3))
    let address = RemoteAddress(rawValue: transaction.arguments[1])
    let size = transaction.arguments[2]
    let type = try transaction.read(Int64.self, at: address)
    guard size <= UInt64(transaction.host.segmentHost.limits.message), id >= 0, type >= 1 else {
      throw .invalidArgument
    }
    let text = try transaction.readBytes(Int(size), at: address.advanced(by: 8))
    let message = Message(type: type, text: text)
    let credentials = try transaction.host.credentials(of: transaction.caller)
    let caller = transaction.caller
    let isDone = try transaction.changeObjects(.lookUp, on: id) { state throws(Errno) in
      state.endWaits(of: caller)
      return try state.send(message, to: id, from: caller, credentials) == nil
    }
    if isDone {
      transaction.result = .success(0)
      return
    }
    if flags & IPCLimits.noWait != 0 { throw .resourceTemporarilyUnavailable }
    try transaction.sleep(for: nil, .send(message), on: id) { state, wait, looks throws(Errno) in
      let queue =
        looks
        ? try state.send(message, to: id, from: caller, credentials) : try state.queues.object(id)
      guard let queue else { return .success(0) }
      guard state.messageBytes + message.charge <= MessageLimits.bytes else { throw .noMemory }
      state.messageBytes += message.charge
      queue.senders.append(wait)
      state.park(wait, for: queue)
      return nil
    }
  }

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    if try transaction.wokenOutcome() != nil { transaction.result = .success(0) }
  }
}

/// Takes a message, or waits for one.
///
/// Source: msgrcv(2).
struct ReceiveMessage: Wrapper {
  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let (id, flags) = (transaction.arguments.int(0), transaction.arguments.int(4))
    let type = Int64(bitPattern: transaction.arguments[3])
    guard id >= 0, let room = Int(exactly: transaction.arguments[2]) else {
      throw .invalidArgument
    }
    let credentials = try transaction.host.credentials(of: transaction.caller)
    if flags & MessageLimits.copies != 0 {
      return try copy(id, number: type, room: room, flags, credentials, &transaction)
    }
    try transaction.host.reachMemory()
    let selector = MessageSelector(type: type, flags: flags, room: room)
    let caller = transaction.caller
    let message = try transaction.changeObjects(.lookUp, on: id) { state throws(Errno) in
      state.endWaits(of: caller)
      return try state.receive(selector, from: id, by: caller, credentials).message
    }
    if let message { return try show(message, room: room, &transaction) }
    if flags & IPCLimits.noWait != 0 { throw .noMessage }
    var found: Message?
    try transaction.sleep(for: nil, .receive(selector), on: id) {
      state, wait, looks throws(Errno) in
      let (message, queue) =
        looks
        ? try state.receive(selector, from: id, by: caller, credentials)
        : (nil, try state.queues.object(id))
      found = message
      if message != nil { return .success(0) }
      queue.receivers.append(wait)
      state.park(wait, for: queue)
      return nil
    }
    if let found { try show(found, room: room, &transaction) }
  }

  func epilogue(_ transaction: inout Transaction) throws(Errno) {
    guard case .received(let message)? = try transaction.wokenOutcome() else { return }
    try show(message, room: Int(clamping: transaction.arguments[2]), &transaction)
  }

  /// `MSG_COPY`: the message stays in the queue.
  ///
  /// Source: ipc/msg.c, `prepare_copy`, `copy_msg`.
  private func copy(
    _ id: Int32, number: Int64, room: Int, _ flags: Int32, _ credentials: CallerCredentials,
    _ transaction: inout Transaction
  ) throws(Errno) {
    guard flags & MessageLimits.except == 0, flags & IPCLimits.noWait != 0 else {
      throw .invalidArgument
    }
    // The kernel reads there first what it is about to overwrite.
    let limits = transaction.host.segmentHost.limits
    _ = try transaction.readBytes(
      min(room, limits.message), at: RemoteAddress(rawValue: transaction.arguments[1]))
    let message = try transaction.changeObjects(.lookUp, on: id) { state throws(Errno) in
      let queue = try state.queues.object(id)
      try queue.permissions.check(0o444, by: credentials)
      return queue.message(number: number)
    }
    guard let message else { throw .noMessage }
    if message.text.count > room {
      throw flags & MessageLimits.cuts == 0 ? .argListTooLong : .invalidArgument
    }
    try show(message, room: room, &transaction)
  }

  private func show(
    _ message: Message, room: Int, _ transaction: inout Transaction
  ) throws(Errno) {
    let address = RemoteAddress(rawValue: transaction.arguments[1])
    let count = min(room, message.text.count)
    let host = transaction.host
    let written = withUnsafeTemporaryAllocation(byteCount: 8 + count, alignment: 8) {
      buffer -> Result<Void, Errno> in
      buffer.storeBytes(of: message.type, as: Int64.self)
      UnsafeMutableRawBufferPointer(rebasing: buffer[8...]).copyBytes(from: message.text[..<count])
      do throws(Errno) {
        return .success(try host.write(UnsafeRawBufferPointer(buffer), to: address))
      } catch {
        return .failure(error)
      }
    }
    try written.get()
    transaction.result = .success(count)
  }
}

/// Looks at queues, changes and removes them.
///
/// Source: msgctl(2); include/uapi/asm-generic/msgbuf.h, `struct msqid64_ds`; include/uapi/linux/msg.h, `struct msginfo`.
struct ControlMessageQueue: Wrapper {
  static let statusByIndex: Int32 = 11
  private static let totals: Int32 = 12
  static let anyStatusByIndex: Int32 = 13
  private static let recordSize = 120

  func preamble(_ transaction: inout Transaction) throws(Errno) {
    let (id, command) = (transaction.arguments.int(0), transaction.arguments.int(1))
    let address = RemoteAddress(rawValue: transaction.arguments[2])
    guard id >= 0, command >= 0 else { throw .invalidArgument }
    let credentials = try transaction.host.credentials(of: transaction.caller)
    let limits = transaction.host.segmentHost.limits
    switch command {
    case IPCLimits.info, Self.totals:
      let (record, highest) = try transaction.changeObjects(.lookUp, on: id) { state in
        (
          Self.information(state, limits, isTotal: command == Self.totals),
          state.queues.highestIndex ?? 0
        )
      }
      try transaction.write(bytes: record, to: address)
      transaction.result = .success(Int(highest))
    case IPCLimits.status, Self.statusByIndex, Self.anyStatusByIndex:
      let (record, answer) = try transaction.changeObjects(.lookUp, on: id) {
        state throws(Errno) in
        let isById = command == IPCLimits.status
        let queue = try isById ? state.queues.object(id) : state.queues.object(at: id)
        if command != Self.anyStatusByIndex {
          try queue.permissions.check(0o444, by: credentials)
        }
        return (Self.record(of: queue), isById ? 0 : queue.permissions.id)
      }
      try transaction.write(bytes: record, to: address)
      transaction.result = .success(Int(answer))
    case IPCLimits.set:
      let record = try transaction.readBytes(Self.recordSize, at: address)
      try transaction.changeObjects(.publish, on: id) { state throws(Errno) in
        let queue = try state.queues.object(id)
        try state.set(
          queue, user: record.word(at: 4), group: record.word(at: 8), mode: record.word(at: 20),
          // An int to the kernel.
          capacity: UInt64(bitPattern: Int64(Int32(bitPattern: record.word(at: 88)))), credentials,
          limits)
      }
      transaction.result = .success(0)
    case IPCLimits.remove:
      try transaction.changeObjects(.retire, on: id) { state throws(Errno) in
        let queue = try state.queues.object(id)
        try queue.permissions.checkOwner(credentials)
        state.remove(queue)
      }
      transaction.result = .success(0)
    default: throw .invalidArgument
    }
  }

  private static func record(of queue: MessageQueueObject) -> [UInt8] {
    var record = IPCRecord(size: recordSize)
    record.add(queue.permissions)
    for time in [queue.sendTime, queue.receiveTime, queue.changeTime] { record.add(time) }
    for number in [queue.bytes, queue.count, queue.capacity] { record.add(number) }
    record.add(queue.lastSender)
    record.add(queue.lastReceiver)
    return record.bytes
  }

  private static func information(
    _ state: borrowing SystemVObjects.State, _ limits: SystemVLimits, isTotal: Bool
  ) -> [UInt8] {
    let usual = SystemVLimits()
    let (queues, queue) = (Int32(usual.queues), Int32(usual.queue))
    let bytes = isTotal ? state.queues.objects.reduce(0) { $0 + Int(clamping: $1.bytes) } : 0
    var record = IPCRecord(size: 32)
    record.add(isTotal ? Int32(state.queues.count) : queues * (queue / 1024))  // msgpool
    record.add(isTotal ? Int32(clamping: state.messages) : queue)  // msgmap
    record.add(Int32(limits.message))  // msgmax
    record.add(Int32(limits.queue))  // msgmnb
    record.add(Int32(limits.queues))  // msgmni
    record.add(Int32(16))  // msgssz
    record.add(isTotal ? Int32(clamping: bytes) : queue)  // msgtql
    record.add(UInt16.max)  // msgseg
    return record.bytes
  }
}
